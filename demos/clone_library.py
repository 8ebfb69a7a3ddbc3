"""The voice library as cards: use, rename, delete, export, import."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from demos.clips import served
from demos.clone_words import notice, shown
from demos.problems import told
from services import Services
from speech.level import duration_text
from voices.archive import SUFFIX, export_voices, import_voices
from voices.library import SHARED_NOTE
from voices.record import Origin, StoredVoice

SKIP = gr.skip()
ORIGINS: dict[Origin, str] = {
    "shipped": "comes with Parley",
    "recording": "recorded here",
    "upload": "from a file",
    "synthetic": "synthetic",
}
#: The cards are drawn as HTML; a press on one of their buttons comes back as this event.
SCRIPT = """
element.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-action]");
  if (!button) return;
  const { action, name } = button.dataset;
  const chosen = [...element.querySelectorAll("input:checked")].map(({ value }) => value);
  trigger("act", { action, names: name === undefined ? chosen : [name] });
  if (action === "use") document.querySelector("#voice-source").scrollIntoView({ block: "center" });
});
"""


@dataclass(frozen=True, slots=True)
class Widgets:
    """The section of the library."""

    cards: gr.HTML
    outcome: gr.HTML
    rename: gr.Row
    name: gr.Textbox
    renaming: gr.Button
    delete: gr.Row
    question: gr.HTML
    deleting: gr.Button
    keeping: gr.Button
    download: gr.DownloadButton
    upload: gr.UploadButton


def build() -> Widgets:
    """Lay out the section."""
    with gr.Column(elem_id="voice-library"):
        gr.HTML('<h2 class="voice-heading">Library</h2>', js_on_load=None)
        cards = gr.HTML(elem_id="voice-cards", js_on_load=SCRIPT)
        with gr.Row(visible=False, elem_id="voice-rename", elem_classes="voice-row") as rename:
            name = gr.Textbox(label="New name", max_lines=1, min_width=160)
            renaming = gr.Button("Rename", variant="primary", min_width=90)
        with gr.Row(visible=False, elem_id="voice-delete", elem_classes="voice-row") as delete:
            question = gr.HTML(js_on_load=None)
            deleting = gr.Button("Delete for good", variant="stop", min_width=110)
            keeping = gr.Button("Keep", min_width=90)
        outcome = gr.HTML(elem_id="voice-library-outcome", js_on_load=None)
        with gr.Row(elem_classes="voice-row"):
            download = gr.DownloadButton(visible=False, size="sm", elem_id="voice-export")
            upload = gr.UploadButton(
                "Import voices from a file", file_types=[SUFFIX], size="sm", elem_id="voice-import"
            )
    return Widgets(
        cards,
        outcome,
        rename,
        name,
        renaming,
        delete,
        question,
        deleting,
        keeping,
        download,
        upload,
    )


def wire(
    shelf: "Shelf", w: Widgets, source: gr.Radio, voice: gr.Dropdown
) -> Iterator[gr.events.Dependency]:
    """Wire the section; gives the events after which the library may be another."""
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    picked = gr.State(None)
    rows = [w.rename, w.name, w.delete, w.question, picked]
    w.cards.act(shelf.act, None, [source, voice, *rows, w.download, w.outcome], **quick)
    w.keeping.click(lambda: gr.Row(visible=False), None, w.delete, **quick)
    renamed = [w.rename, w.outcome]
    yield gr.on([w.renaming.click, w.name.submit], shelf.rename, [picked, w.name], renamed, **quick)
    yield w.deleting.click(shelf.delete, picked, [w.delete, w.outcome], **quick)
    yield w.upload.upload(shelf.take_in, w.upload, w.outcome, **quick)


class Shelf:
    """Event handlers; they return what their outputs in `wire` ask for.

    Args:
        services: Has the library.
        files: Files that Gradio cleans up; those that are made are added.
    """

    def __init__(self, services: Services, files: set[str]) -> None:
        self._library = services.voices.library
        self._files = files

    def show(self, request: gr.Request) -> str:
        """The cards as they are for this login."""
        by = request.username or ""
        voices = self._library.voices()
        cards = "".join(_card(voice, self._library.may_change(voice, by)) for voice in voices)
        problems = "".join(notice(problem) for problem in self._library.problems())
        return (
            f'{problems}<ul class="voice-cards" aria-label="Voices">{cards}</ul>'
            '<p class="voice-small"><button type="button" class="voice-button" '
            'data-action="export">Export the ticked voices</button> '
            f"{shown(SHARED_NOTE)}</p>"
        )

    def act(self, event: gr.EventData) -> tuple[Any, ...]:
        """A button of a card was pressed; see `wire` for what comes of it."""
        names = [str(name) for name in event.names]
        hidden = (gr.Row(visible=False), SKIP, gr.Row(visible=False), SKIP)
        if event.action == "use" and names:
            every = [voice.name for voice in self._library.voices()]
            chosen = gr.Dropdown(choices=every, value=names[0], visible=True)
            return "library", chosen, *hidden, None, SKIP, ""
        if event.action == "rename" and names:
            box = gr.Textbox(names[0], label=f"New name for {names[0]!r}")
            return SKIP, SKIP, gr.Row(visible=True), box, *hidden[2:], names[0], SKIP, ""
        if event.action == "delete" and names:
            question = (
                f"<p>Delete <b>{shown(names[0])}</b>? Its recording and all that was "
                "computed from it are erased, for everyone.</p>"
            )
            return SKIP, SKIP, *hidden[:2], gr.Row(visible=True), question, names[0], SKIP, ""
        file, outcome = self._export(names)
        return SKIP, SKIP, *hidden, None, file, outcome

    def rename(self, picked: str | None, name: str, request: gr.Request) -> tuple[Any, Any]:
        """Give the picked voice another name: rename, outcome."""
        try:
            voice = self._library.rename(picked or "", name, by=request.username or "")
        except Exception as error:  # noqa: BLE001  (what is no message for people goes to the log)
            return SKIP, notice(told(error))
        return gr.Row(visible=False), notice(f"Its name is {voice.name!r} now.", "good")

    def delete(self, picked: str | None, request: gr.Request) -> tuple[Any, Any]:
        """Erase the picked voice: delete, outcome."""
        outcome = notice(f"{picked!r} was deleted.", "good")
        try:
            self._library.delete(picked or "", by=request.username or "")
        except Exception as error:  # noqa: BLE001  (what is no message for people goes to the log)
            outcome = notice(told(error))
        return gr.Row(visible=False), outcome

    def take_in(self, path: str, request: gr.Request) -> str:
        """Import a file: outcome."""
        try:
            imported = import_voices(self._library, Path(path), owner=request.username or "")
        except Exception as error:  # noqa: BLE001  (what is no message for people goes to the log)
            return notice(told(error))
        names = ", ".join(repr(voice.name) for voice in imported.voices)
        return notice("\n".join((f"Imported: {names}.", *imported.notes)), "good")

    def _export(self, names: list[str]) -> tuple[Any, str]:
        """Voices as one file: file, outcome."""
        target = served(f"{names[0] if len(names) == 1 else 'voices'}{SUFFIX}")
        try:
            export_voices(self._library, names, target)
        except Exception as error:  # noqa: BLE001  (what is no message for people goes to the log)
            return gr.DownloadButton(visible=False), notice(told(error))
        self._files.add(str(target))
        label = f"Download {target.name} ({target.stat().st_size / 1000:,.0f} kB)"
        return gr.DownloadButton(label, value=str(target), visible=True), ""


def _card(voice: StoredVoice, mine: bool) -> str:
    record, name = voice.record, shown(voice.name)
    facts = f"{duration_text(record.seconds)} · {ORIGINS[record.origin]}"
    why = "It comes with Parley." if voice.shipped else "Only who stored it may do this."
    off = "" if mine else f' disabled title="{why}"'
    buttons = "".join(
        f'<button type="button" class="voice-button" data-action="{action}" data-name="{name}" '
        f'aria-label="{label} {name}"{off if action in {"rename", "delete"} else ""}>'
        f"{label}</button>"
        for action, label in (
            ("use", "Use"),
            ("rename", "Rename"),
            ("delete", "Delete"),
            ("export", "Export"),
        )
    )
    return (
        f'<li class="voice-card"><label><input type="checkbox" value="{name}" '
        f'aria-label="Tick {name}"> <b>{name}</b></label>'
        f"<p>{shown(record.description)}</p>"
        f'<p class="voice-small">{facts}<br>{shown(record.consent_note)}</p>'
        f'<div class="voice-buttons">{buttons}</div></li>'
    )
