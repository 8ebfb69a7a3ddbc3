"""The four steps of the voices tab, as they lie on the page."""

from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from demos import clone_keep, clone_words
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
    seed: gr.Textbox
    speak: gr.Button
    stop: gr.Button
    status: gr.HTML
    live: gr.Audio
    players: gr.HTML
    findings: gr.HTML
    download: gr.DownloadButton


def build(services: Services) -> Widgets:
    """Lay them out, with the first voice of the library chosen."""
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
    _heading(3, "Text")
    task = gr.Radio(TASKS, value="say", label="What", container=False, elem_id="voice-task")
    with gr.Row():
        text = gr.Textbox(TEXT, label="What to say", lines=2, scale=3, elem_id="voice-text")
        question = gr.Textbox(
            QUESTION,
            label="Your question",
            visible=False,
            lines=2,
            scale=3,
            elem_id="voice-question",
        )
        # No number: of an empty one the page makes a zero.
        seed = gr.Textbox(
            label="Seed",
            info="The same seed says it the same way",
            placeholder="Empty draws one",
            max_lines=1,
            min_width=140,
            elem_id="voice-seed",
        )
    with gr.Row(elem_classes="voice-row"):
        speak = gr.Button("Speak", variant="primary", elem_id="voice-speak", min_width=70)
        stop = gr.Button(
            "Stop", variant="stop", interactive=False, elem_id="voice-stop", min_width=70
        )
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
    players = gr.HTML(elem_id="voice-compare", js_on_load=SCRIPT.read_text(encoding="utf-8"))
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


def _heading(number: int, title: str) -> None:
    gr.HTML(
        f'<h2 class="voice-heading"><span class="voice-number">{number}</span> {title}</h2>',
        js_on_load=None,
    )
