"""The page: header and tabs, theme and server."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import gradio as gr
import imageio_ffmpeg

from access import Access
from demos import api, api_voices, chat, clone, engine_switch, header, monitor, stream
from live.routes import Routes
from rest.routes import Rest
from services import Services
from settings import Settings

ASSETS = Path(__file__).parent.parent / "assets"

#: Gradio looks this often for clips of sessions that are over, seconds.
CLEAN_UP = 600
#: A reply may hold an image or a frame of a stranger's server; loading it would tell
#: that server who reads it, and what a prompt made the model put into the address.
HEAD = (
    '<meta http-equiv="Content-Security-Policy" content="'
    "img-src 'self' data: blob:; media-src 'self' data: blob:; frame-src 'self'; "
    "object-src 'none'\">"
)
#: Handlers that may run at once; who works on a model is decided by the turnstile.
HANDLERS = 64


def build(services: Services, access: Access, live: Routes) -> gr.Blocks:
    """The page with all its tabs and the endpoints for programs.

    Args:
        services: Engines and limits.
        access: Lets the page's own live conversations in.
        live: Has the seats of live conversations.
    """
    with gr.Blocks(
        title="Parley",
        fill_height=True,
        delete_cache=(CLEAN_UP, int(services.settings.session_ttl)),
        analytics_enabled=False,
    ) as page:
        # First, as a name goes to who asks first, and handlers of the tabs have names too.
        api.build(services)
        api_voices.build(services)
        engines = header.build(services)
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Talk", id="talk") as talk:
                stream.build(services, access, live, page)
            with gr.Tab("Chat", id="chat") as tab:
                chat.build(services, engines.chat, tab, page)
            with gr.Tab("Voices", id="voices") as voices:
                clone.build(services, engines.voices, page, voices)
            with gr.Tab("Monitor", id="monitor") as watched:
                monitor.build(services, tabs, watched)
        shown = {"talk": talk, "chat": tab, "voices": voices, "monitor": watched}
        for name, each in shown.items():
            engine_switch.tell_tab(each, name)
    page.queue(default_concurrency_limit=HANDLERS)
    return page


def launch(services: Services, *, block: bool = True) -> gr.Blocks:
    """Serve the page as the settings say; returns when it is stopped, if `block`."""
    settings = services.settings
    put_ffmpeg_on_path(settings)
    access = Access(settings)
    live = Routes(services, access)
    page = build(services, access, live)
    try:
        page.launch(
            server_name=settings.host,
            # Given none, Gradio takes the first free one from its default on.
            server_port=settings.port or None,
            share=settings.share,
            auth=settings.logins or None,
            prevent_thread_lock=True,
            max_file_size=settings.max_upload,
            max_threads=HANDLERS,
            state_session_capacity=settings.max_sessions,
            theme=theme(),
            css_paths=ASSETS / "page.css",
            head=HEAD + f"<script>{(ASSETS / 'page.js').read_text()}</script>",
            favicon_path=str(ASSETS / "icon.svg"),
            footer_links=["api", "settings"],
            allowed_paths=[str(ASSETS / "samples")],
            # What is meant for people is raised as `gr.Error`, which is shown all the same.
            show_error=False,
            ssr_mode=False,
            run_history=False,
            mcp_server=offers_tools(settings),
            app_kwargs={"routes": [*live.routes(), *Rest(services, access).routes()]},
        )
        live.serve_in(page.server)
        if block:
            page.block_thread()
    except KeyboardInterrupt:
        # While it waits for its end Gradio closes by itself; just before, nobody else would.
        if not getattr(page, "server", None):
            raise
        live.serve_in(page.server)
        page.close()
    return page


def offers_tools(settings: Settings) -> bool:
    """Whether assistants find the endpoints as tools (MCP): if `requirements-mcp.txt` is there.

    Not behind logins: Gradio calls the endpoints for them, and has none of its own.
    """
    return find_spec("mcp") is not None and not settings.auth


def theme() -> gr.themes.Base:
    """Quiet surfaces, one accent, the fonts that the system has."""
    return gr.themes.Base(
        primary_hue="teal",
        secondary_hue="teal",
        neutral_hue="slate",
        radius_size="md",
        font=["ui-sans-serif", "system-ui", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "monospace"],
    ).set(
        # White on the accent's middle shade has a contrast of 2.5; AA asks for 4.5.
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
        button_primary_text_color="white",
        # Gradio's own shade has a contrast of 2.6 on white.
        body_text_color_subdued="*neutral_500",
    )


def put_ffmpeg_on_path(settings: Settings) -> None:
    """Let Gradio find an ffmpeg: it encodes streamed speech with it.

    A machine that has one keeps using it. The package's own goes by a name with
    its version in it, hence the link.
    """
    if shutil.which("ffmpeg"):
        return
    folder = settings.data / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "ffmpeg"
    target = Path(imageio_ffmpeg.get_ffmpeg_exe())
    if not link.is_symlink() or link.readlink() != target:
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}{os.pathsep}{folder}"
