"""The talk tab: a live conversation, with an interruption whenever one likes.

The page speaks the realtime protocol like any other client; its scripts are in
`live/page`, which also says there how the microphone and the loudspeaker work.
"""

from pathlib import Path

import gradio as gr

from demos import stream_fallback
from live.access import Access
from live.routes import PAGE_PATH, Routes

PARTS = Path(__file__).parent.parent / "live" / "page"

#: Relative to the page, so that it also works behind a proxy that adds a path.
BEGIN = f"""
const issueToken = () => server.issue_token();
const load = (name) => import(new URL(`{PAGE_PATH.lstrip("/")}/${{name}}`, document.baseURI));
load("view.js").then(async ({{ mount }}) => {{
  mount(element, issueToken);
  const {{ watch }} = await load("fallback.js");
  watch(element, issueToken, (microphone) => trigger("no_websocket", {{ microphone }}));
}});
"""


def build(access: Access, live: Routes, page: gr.Blocks) -> None:
    """Lay out the tab; everything in it happens in the browser, but for the fallback.

    Args:
        access: Whoever passed Gradio's login is given its tokens.
        live: Has the seats of those that no WebSocket reaches.
        page: What is unloaded when its visitor leaves.
    """

    def issue_token(_: object) -> str:
        return access.issue()

    talk = gr.HTML(
        html_template=(PARTS / "talk.html").read_text(encoding="utf-8"),
        css_template=(PARTS / "talk.css").read_text(encoding="utf-8"),
        js_on_load=BEGIN,
        apply_default_css=False,
        server_functions=[issue_token],
        elem_id="talk",
        label="Talk",
    )
    stream_fallback.build(live.guest, talk, page)
