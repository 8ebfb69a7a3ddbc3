"""The endpoints as tools of an assistant: a real MCP client over a real server."""

import asyncio
import base64
import io

import httpx
import soundfile
from conftest import ROOT, SAMPLES
from optional import needs

from demos.page import offers_tools
from settings import Settings

needs_mcp = needs("requirements-mcp.txt", "mcp")


def with_session(url, work):
    from mcp import ClientSession  # noqa: PLC0415  (optional)
    from mcp.client.streamable_http import streamable_http_client  # noqa: PLC0415

    async def run():
        async with (
            streamable_http_client(f"{url}gradio_api/mcp/") as (receive, send, _),
            ClientSession(receive, send) as session,
        ):
            await session.initialize()
            return await work(session)

    return asyncio.run(run())


def inline(path):
    """A file as assistants hand it over: nothing is fetched from this machine's addresses."""
    return f"data:audio/wav;base64,{base64.b64encode(path.read_bytes()).decode()}"


@needs_mcp
def test_tools_are_described(page_url):
    async def listed(session):
        return {tool.name: tool for tool in (await session.list_tools()).tools}

    tools = with_session(page_url, listed)
    named = {name.removeprefix("parley_").lower(): tool for name, tool in tools.items()}
    assert {"transcribe", "speak", "ask", "clone"} <= set(named)
    assert "Speech to text" in named["transcribe"].description
    assert set(named["speak"].inputSchema["properties"]) == {"text", "voice", "seed"}


@needs_mcp
def test_tools_work(page_url):
    sky, story = (inline(SAMPLES / name) for name in ("sky.wav", "story.wav"))
    calls = {
        "transcribe": {"audio": sky},
        "speak": {"text": "Good morning."},
        "ask": {"text": "Say: blue."},
        "clone": {"text": "Good morning.", "reference": story},
    }

    async def call(session):
        tools = [tool.name for tool in (await session.list_tools()).tools]
        return {
            name: await session.call_tool(next(t for t in tools if t.endswith(name)), arguments)
            for name, arguments in calls.items()
        }

    told = with_session(page_url, call)
    wrong = {name: result.content for name, result in told.items() if result.isError}
    assert not wrong
    parts = {name: [part.text for part in result.content] for name, result in told.items()}
    assert parts["transcribe"] == ["Why is the sky blue?"]
    assert "blue" in " ".join(parts["ask"]).lower() and ".wav" in " ".join(parts["ask"])
    for name in ("speak", "clone"):
        sound = httpx.get(parts[name][0])
        assert len(soundfile.read(io.BytesIO(sound.content))[0]) > 12_000


@needs_mcp
def test_what_is_wrong_is_told(page_url):
    async def call(session):
        return await session.call_tool("speak", {"text": "Hello.", "voice": "nobody"})

    result = with_session(page_url, call)
    assert result.isError and "no voice 'nobody'" in result.content[0].text


def test_there_are_none_behind_logins(monkeypatch):
    monkeypatch.setattr("demos.page.find_spec", lambda name: object())
    assert offers_tools(Settings(_env_file=None))
    assert not offers_tools(Settings(_env_file=None, auth="ann:secret"))
    monkeypatch.setattr("demos.page.find_spec", lambda name: None)
    assert not offers_tools(Settings(_env_file=None))


def test_the_requirement_is_pinned_and_optional():
    default = (ROOT / "requirements.txt").read_text()
    assert "\nmcp" not in default and "[mcp]" not in default
    assert "\nmcp==" in (ROOT / "requirements-mcp.txt").read_text()
