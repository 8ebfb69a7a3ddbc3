"""The talk tab: a live conversation, with an interruption whenever one likes.

The page speaks the realtime protocol like any other client; its scripts are in
`live/page`, which also says there how the microphone and the loudspeaker work.
"""

from pathlib import Path
from typing import Any

import gradio as gr

from access import Access
from demos import stream_fallback
from errors import ParleyError
from live.config import engine_as_event
from live.routes import PAGE_PATH, Routes
from services import Services

PARTS = Path(__file__).parent.parent / "live" / "page"

#: Relative to the page, so that it also works behind a proxy that adds a path.
BEGIN = f"""
const issueToken = () => server.issue_token();
const describe = (name) => server.describe_engine(name);
const load = (name) => import(new URL(`{PAGE_PATH.lstrip("/")}/${{name}}`, document.baseURI));
load("view.js").then(async ({{ mount }}) => {{
  mount(element, issueToken, describe);
  const {{ watch }} = await load("fallback.js");
  watch(element, issueToken, (microphone) => trigger("no_websocket", {{ microphone }}));
}});
"""


def build(services: Services, access: Access, live: Routes, page: gr.Blocks) -> None:
    """Lay out the tab; everything in it happens in the browser, but for the fallback.

    Args:
        services: Has the engines.
        access: Whoever passed Gradio's login is given its tokens.
        live: Has the seats of those that no WebSocket reaches.
        page: What is unloaded when its visitor leaves.
    """

    def issue_token(_: object) -> str:
        return access.issue()

    def describe_engine(name: str | None) -> dict[str, Any] | None:
        """What the page shows before there is a conversation; None if there is none."""
        try:
            info = services.info(name)
        except ParleyError:
            return None
        return {"type": "parley.engine", **engine_as_event(info, services.infos())}

    talk = gr.HTML(
        html_template=(PARTS / "talk.html").read_text(encoding="utf-8"),
        css_template=(PARTS / "talk.css").read_text(encoding="utf-8"),
        js_on_load=BEGIN,
        apply_default_css=False,
        server_functions=[issue_token, describe_engine],
        elem_id="talk",
        label="Talk",
    )
    stream_fallback.build(live.guest, talk, page)
