"""What is shown, all the way to a vision model on a server of OpenAI's API.

By the camera in a conversation, by a program, and on the command line. The server is a
stand-in, so what it was sent can be looked at; everything else is real.
"""

import asyncio
import base64
import os
import subprocess
import sys

import pytest
from conftest import ROOT
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from seeing_engine import described, picture
from sight_files import evenly, number_of, write_video
from standin import CHAT, StandIn, says
from test_live_camera import set_session, speak

from bench.caller import call
from engines.images import Image
from services import Services
from settings import Settings


@pytest.fixture(scope="module")
def house():
    with StandIn() as house:
        house.on(CHAT, says("I", " see", "."))
        yield house


@pytest.fixture(scope="module")
def data(house, tmp_path_factory):
    """A data folder with two remote engines: one whose model sees, and one whose does not."""
    data = tmp_path_factory.mktemp("data")
    (data / "engines.toml").write_text(
        f'[seer.chat]\nurl = "{house.url}"\nmodel = "m"\nsees = true\n'
        f'[reader.chat]\nurl = "{house.url}"\nmodel = "m"\n'
    )
    return data


@pytest.fixture(scope="module")
def remote_url(data):
    """A page with these engines."""
    from demos.page import launch  # noqa: PLC0415

    settings = Settings(
        _env_file=None, port=0, warm=False, data=data, engine="seer", live_speculation=False
    )
    with Services(settings) as services:
        page = launch(services, block=False)
        yield page.local_url
        page.close()


@pytest.fixture(autouse=True)
def forget(house):
    house.asked.clear()


def shown(message):
    """The pictures of a message, as colours; the last part of it is the text."""
    if isinstance(message["content"], str):
        return [], message["content"]
    *parts, text = message["content"]
    colours = []
    for part in parts:
        assert part["type"] == "image_url"
        head, _, body = part["image_url"]["url"].partition(",")
        assert head == "data:image/jpeg;base64"
        colours.append(described(Image(base64.b64decode(body, validate=True))).split()[-1])
    return colours, text["text"]


def test_whether_an_engine_sees_is_what_was_set_up(remote_url, house):
    async def infos():
        async with call(remote_url, talking=False) as caller:
            told = await caller.wait("parley.engine")
            return told.engines

    engines = asyncio.run(infos())
    sees = {engine["name"]: engine["can_see"] for engine in engines}
    assert sees["seer"] is True and sees["reader"] is False
    short = Settings(_env_file=None, chat_url=house.url, chat_sees=True)
    with Services(short) as services:
        assert services.engine("remote").info.can_see


@pytest.mark.parametrize("with_history", [False, True])
def test_frames_arrive_as_pictures_in_order(remote_url, house, question, with_history):
    async def converse():
        async with call(remote_url, talking=False) as caller:
            await set_session(caller, output_modalities=["text"])
            if with_history:
                await caller.send(type="parley.configure", images_in_history=True)
            await speak(caller, question, {2.0: "red", 0.7: "blue", 0.4: "green"})
            await caller.wait("response.done")
            await speak(caller, question, {0.5: "yellow"})
            await caller.wait("response.done", 2)
            return caller

    caller = asyncio.run(converse())
    assert not caller.of("error")
    first, second = (asked.json["messages"] for asked in house.of(CHAT))
    assert shown(first[-1]) == (["blue", "green"], "Why is the sky blue?")
    assert shown(second[-1]) == (["yellow"], "Why is the sky blue?")
    before = [message for message in second[:-1] if message["role"] == "user"]
    earlier = ["blue", "green"] if with_history else []
    assert [shown(message) for message in before] == [(earlier, "Why is the sky blue?")]


def test_a_picture_comes_before_the_camera(remote_url, house, question):
    async def converse():
        async with call(remote_url, talking=False) as caller:
            await set_session(caller, output_modalities=["text"])
            data = base64.b64encode(picture("red")).decode()
            part = {"type": "input_image", "image_url": f"data:image/jpeg;base64,{data}"}
            item = {"type": "message", "role": "user", "content": [part]}
            await caller.send(type="conversation.item.create", item=item)
            await speak(caller, question, {0.5: "blue"})
            await caller.wait("response.done")

    asyncio.run(converse())
    (asked,) = house.of(CHAT)
    assert shown(asked.json["messages"][-1]) == (["red", "blue"], "Why is the sky blue?")


def test_a_model_that_does_not_see_is_sent_none(remote_url, house, question):
    async def converse():
        async with call(remote_url, talking=False) as caller:
            await set_session(caller, model="reader", output_modalities=["text"])
            await speak(caller, question, {0.5: "blue"})
            await caller.wait("response.done")
            return caller.of("error")

    errors = asyncio.run(converse())
    assert [error.error.code for error in errors] == ["cannot_see"]
    (asked,) = house.of(CHAT)
    assert shown(asked.json["messages"][-1]) == ([], "Why is the sky blue?")


@pytest.fixture
def files(tmp_path):
    """A red picture, a blue one, and a video of 4.5 s."""
    for colour in ("red", "blue"):
        (tmp_path / f"{colour}.png").write_bytes(picture(colour, kind="PNG"))
    write_video(str(tmp_path / "walk.mp4"), evenly(45))
    return [str(tmp_path / name) for name in ("red.png", "blue.png", "walk.mp4")]


def sent(house):
    """What the model was asked last: colours of pictures, numbers of frames, the text."""
    *parts, text = house.of(CHAT)[-1].json["messages"][-1]["content"]
    images = [Image(base64.b64decode(part["image_url"]["url"].partition(",")[2])) for part in parts]
    pictures = [described(image).split()[-1] for image in images if image.width == 64]
    return pictures, [number_of(image) for image in images if image.width != 64], text["text"]


def test_a_program_shows_pictures_and_a_video(remote_url, house, files):
    client = Client(remote_url, verbose=False)
    red, blue, walk = map(handle_file, files)
    shown = {"images": [red, blue], "video": walk, "begin": "0:01", "end": "3.5", "frames": 2}
    _, answer, _ = client.predict(None, "What is it?", **shown, api_name="/ask")
    assert answer == "I see."
    assert sent(house) == (["red", "blue"], [10, 30], "What is it?")


@pytest.mark.parametrize(
    ("shown", "says"),
    [
        ({"images": 17}, "At most 16 pictures go with one question, not 17"),
        ({"frames": 65, "video": True}, "From 1 to 64 frames"),
        ({"begin": "soon", "video": True}, "is no time"),
        ({"begin": "9", "video": True}, "The video is over after 0:04"),
    ],
)
def test_a_program_is_told_what_is_wrong(remote_url, house, files, shown, says):
    client = Client(remote_url, verbose=False)
    given = dict(shown)
    if "images" in given:
        given["images"] = [handle_file(files[0])] * given["images"]
    if "video" in given:
        given["video"] = handle_file(files[2])
    with pytest.raises(AppError, match=says):
        client.predict(None, "What is it?", **given, api_name="/ask")
    assert not house.of(CHAT)


def run(data, *arguments):
    return subprocess.run(
        [sys.executable, ROOT / "app.py", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PARLEY_DATA": str(data)},
    )


def test_the_command_line_shows_them(data, house, files, tmp_path):
    red, blue, walk = files
    shown = ["--image", red, "--image", blue, "--video", walk, "--end", "0:02"]
    result = run(
        data, "--engine", "seer", "ask", "--text", "What is it?", *shown,
        "-o", str(tmp_path / "reply.wav"),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout == "Q: What is it?\nA: I see.\n"
    assert sent(house) == (["red", "blue"], [0, 10], "What is it?")
    assert (tmp_path / "reply.wav").stat().st_size > 1000


@pytest.mark.parametrize(
    ("engine", "arguments", "says"),
    [
        ("reader", ["--image", "{0}"], "cannot see"),
        ("seer", ["--image", "nothing.png"], "There is no file nothing.png"),
        ("seer", [], "Give a sound file, --text, --image or --video"),
    ],
)
def test_the_command_line_tells_what_is_wrong(data, house, files, engine, arguments, says):
    result = run(data, "--engine", engine, "ask", *(each.format(*files) for each in arguments))
    assert result.returncode != 0
    assert says in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.stderr and not house.of(CHAT)
