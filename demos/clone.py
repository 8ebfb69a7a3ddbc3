"""The voices tab: a reference, its check, words, and what came of it; the library below."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from demos import clone_batch, clone_detect, clone_keep, clone_library, clone_words
from demos.clone_steps import Steps, ask
from demos.clone_words import notice
from services import Services

SCRIPT = Path(__file__).parent.parent / "assets" / "clone.js"
SOURCES = [("A voice of the library", "library"), ("A recording", "recording")]
TASKS = [("Say this", "say"), ("Ask the assistant", "ask")]
TEXT = (
    "The quick river ran past the old mill, and three children waved at us from the bridge. "
    "Shall we stop there for lunch?"
)
QUESTION = "Why is the sky blue?"


@dataclass(frozen=True, slots=True)
class Widgets:
    """What the four steps are made of."""

    source: gr.Radio
    voice: gr.Dropdown
    clip: gr.Audio
    use: gr.HTML
    report: gr.HTML
    excerpt: gr.Audio
    keep: clone_keep.Keep
    task: gr.Radio
    text: gr.Textbox
    question: gr.Textbox
    seed: gr.Number
    speak: gr.Button
    stop: gr.Button
    status: gr.HTML
    live: gr.Audio
    players: gr.HTML
    findings: gr.HTML
    download: gr.DownloadButton


def build(services: Services, engine: gr.Dropdown, page: gr.Blocks, tab: gr.Tab) -> None:
    """Lay out the tab and wire it."""
    if not services.voices.library.consent:
        gr.HTML(
            notice(
                "The consent check is off on this server (PARLEY_VOICE_CONSENT=false): recordings "
                "of people are stored without asking them. Only for research on this machine."
            ),
            elem_id="voice-gate-off",
        )
    widgets = _layout(services)
    library = clone_library.build()
    clone_batch.build(services, engine, page)
    clone_detect.build(services)
    _wire(services, engine, page, tab, widgets, library)


def _layout(services: Services) -> Widgets:
    with gr.Row(elem_id="voice-steps"):
        with gr.Column(min_width=320):
            _heading(1, "Reference")
            source = gr.Radio(
                SOURCES,
                value="library",
                label="Where from",
                container=False,
                elem_id="voice-source",
            )
            voice = gr.Dropdown(
                [known.name for known in services.voices.library.voices()],
                label="Voice of the library",
                elem_id="voice-choice",
            )
            clip = gr.Audio(
                label="Record, or drop a sound file: 3 to 30 s of one person; scissors trim it",
                sources=["microphone", "upload"],
                type="filepath",
                visible=False,
                elem_id="voice-clip",
                buttons=[],
            )
        with gr.Column(min_width=320):
            _heading(2, "Check")
            report = gr.HTML(elem_id="voice-report", js_on_load=None)
            excerpt = gr.Audio(
                label="The part that is used",
                interactive=False,
                visible=False,
                elem_id="voice-excerpt",
                buttons=[],
            )
            use = gr.HTML(
                clone_words.use(services.engine().info), elem_id="voice-use", js_on_load=None
            )
            keep = clone_keep.build(services)
    with gr.Row():
        with gr.Column(min_width=320):
            _heading(3, "Text")
            task = gr.Radio(TASKS, value="say", label="What", container=False, elem_id="voice-task")
            text = gr.Textbox(TEXT, label="What to say", lines=3, elem_id="voice-text")
            question = gr.Textbox(
                QUESTION, label="Your question", visible=False, lines=1, elem_id="voice-question"
            )
            seed = gr.Number(
                None,
                precision=0,
                label="Seed",
                info="The same seed says it the same way; empty draws one",
                elem_id="voice-seed",
            )
            with gr.Row(elem_classes="voice-row"):
                speak = gr.Button("Speak", variant="primary", elem_id="voice-speak", min_width=70)
                stop = gr.Button(
                    "Stop", variant="stop", interactive=False, elem_id="voice-stop", min_width=70
                )
        with gr.Column(min_width=320):
            _heading(4, "Listen")
            status = gr.HTML(elem_id="voice-status", js_on_load=None)
            live = gr.Audio(
                label="The result, as it is made",
                streaming=True,
                autoplay=True,
                interactive=False,
                elem_id="voice-live",
                buttons=[],
            )
            players = gr.HTML(
                elem_id="voice-compare", js_on_load=SCRIPT.read_text(encoding="utf-8")
            )
            download = gr.DownloadButton(
                "Download the result", visible=False, size="sm", elem_id="voice-download"
            )
    findings = gr.HTML(elem_id="voice-findings", js_on_load=None)
    return Widgets(
        source,
        voice,
        clip,
        use,
        report,
        excerpt,
        keep,
        task,
        text,
        question,
        seed,
        speak,
        stop,
        status,
        live,
        players,
        findings,
        download,
    )


def _wire(
    services: Services,
    engine: gr.Dropdown,
    page: gr.Blocks,
    tab: gr.Tab,
    w: Widgets,
    library: clone_library.Widgets,
) -> None:
    files: set[str] = set()
    page.temp_file_sets.append(files)
    on, shelf = Steps(services, files), clone_library.Shelf(services, files)
    ttl = services.settings.session_ttl
    given = gr.State(None, time_to_live=ttl)
    origin = gr.State("upload", time_to_live=ttl)
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    long: dict[str, Any] = {
        "show_progress": "hidden",
        "api_visibility": "private",
        "concurrency_limit": None,
    }
    choice = [w.source, w.voice, given, engine]
    show = (on.show, choice, [w.voice, w.clip, w.use, w.report, w.excerpt, w.keep.fold, w.speak])

    def refresh(event: gr.events.Dependency) -> None:
        """Show the library as it is after `event`."""
        event.then(on.voices, w.voice, w.voice, **quick).then(
            shelf.show, None, library.cards, **quick
        )

    gr.on([w.source.change, w.voice.change, engine.change], *show, **quick)
    refresh(tab.select(*show, **quick))
    w.clip.start_recording(lambda: "recording", None, origin, **quick)
    w.clip.clear(lambda: "upload", None, origin, **quick)
    checked = [given, w.report, w.excerpt, w.keep.fold, w.speak]
    w.clip.change(on.check, [w.clip, origin], checked, trigger_mode="multiple", **long)
    w.task.change(ask, w.task, [w.text, w.question], **quick)
    result = [w.status, w.live, w.players, w.findings, w.download, w.speak, w.stop]
    w.speak.click(
        on.speak,
        [w.source, w.voice, given, w.task, w.text, w.question, w.seed, engine],
        result,
        trigger_mode="multiple",
        **long,
    )
    w.stop.click(on.stop, **quick)
    page.unload(on.leave)
    refresh(clone_keep.wire(services, page, w.keep, given))
    for event in clone_library.wire(shelf, library, w.source, w.voice):
        refresh(event)


def _heading(number: int, title: str) -> None:
    gr.HTML(
        f'<h2 class="voice-heading"><span class="voice-number">{number}</span> {title}</h2>',
        js_on_load=None,
    )
