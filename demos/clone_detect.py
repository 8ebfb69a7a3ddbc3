"""The detector: was this file made by Parley, and how?"""

from pathlib import Path
from typing import Any

import gradio as gr

from demos.clone_words import notice
from demos.problems import told
from services import Services
from voices.marks import read_mark
from voices.watermark import DETECTED

NO_MARK = (
    "This file does not say that Parley made it. That proves nothing: anybody can strip "
    "what a file says of itself."
)


def build(services: Services) -> None:
    """Lay out the folded section and wire it."""
    quick: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    with gr.Accordion("Was a file made by Parley?", open=False, elem_id="voice-detector"):
        file = gr.File(label="A sound file", type="filepath", height=120, elem_id="voice-suspect")
        answer = gr.HTML(elem_id="voice-answer", js_on_load=None)

    def detect(path: str | None) -> str:
        return _answer(services, Path(path)) if path else ""

    file.change(detect, file, answer, concurrency_limit=None, **quick)


def _answer(services: Services, path: Path) -> str:
    """What the file says of itself, and what the watermark says."""
    try:
        made = read_mark(path)
        watermark = services.voices.watermark
        share = watermark.detect(services.recording(path).audio) if watermark.present else None
    except Exception as error:  # noqa: BLE001  (what is no message for people goes to the log)
        return notice(told(error))
    said = notice(f"{made.sentence}", "good") if made else notice(NO_MARK)
    if share is None:
        return said + notice(f"The sound itself was not searched. {watermark.missing}", "waiting")
    found = "carries" if share >= DETECTED else "does not carry"
    return said + notice(
        f"The sound {found} Parley's watermark: {share:.0%} of it has one, from {DETECTED:.0%} on "
        "that counts.",
        "good" if share >= DETECTED else "problem",
    )
