"""The two buttons of everything that runs: one begins it, one stops it."""

from typing import Any

import gradio as gr


def buttons(*, busy: bool) -> tuple[Any, Any]:
    """Which of them can be pressed: the one that begins, the one that stops."""
    return gr.Button(interactive=not busy), gr.Button(interactive=busy)
