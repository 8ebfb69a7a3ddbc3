"""The talk tab: a live conversation, with an interruption whenever one likes.

The page speaks the realtime protocol like any other client; its scripts are in
`live/page`, which also says there how the microphone and the loudspeaker work.
"""

from pathlib import Path

import gradio as gr

from live.access import Access
from live.routes import PAGE_PATH

PARTS = Path(__file__).parent.parent / "live" / "page"

#: Relative to the page, so that it also works behind a proxy that adds a path.
BEGIN = f"""
import(new URL("{PAGE_PATH.lstrip("/")}/view.js", document.baseURI))
  .then(({{ mount }}) => mount(element, () => server.issue_token()));
"""


def build(access: Access) -> gr.HTML:
    """Lay out the tab; everything in it happens in the browser.

    Args:
        access: Whoever passed Gradio's login is given its tokens.
    """

    def issue_token(_: object) -> str:
        return access.issue()

    return gr.HTML(
        html_template=(PARTS / "talk.html").read_text(encoding="utf-8"),
        css_template=(PARTS / "talk.css").read_text(encoding="utf-8"),
        js_on_load=BEGIN,
        apply_default_css=False,
        server_functions=[issue_token],
        elem_id="talk",
        label="Talk",
    )
