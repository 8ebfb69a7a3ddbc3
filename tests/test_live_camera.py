"""The camera: which frames go with which words, and that they do, over the real WebSocket."""

import asyncio
import base64

import numpy as np
import pytest
from seeing_engine import MOLE, SEER, picture

from bench.caller import call
from live import camera
from live.camera import MOST_A_SECOND, MOST_FRAME_BYTES, Camera
from live.protocol import ProtocolError

RATE = 16_000
WIRE_RATE = 24_000


def frame(colour="red", **options):
    return base64.b64encode(picture(colour, **options)).decode()


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def eye(clock):
    """A camera whose `add` also lets the time pass that the samples tell."""
    eye = Camera(SEER, pytest.fail, clock)

    def add(seconds, width=64):
        clock.now = seconds
        eye.look(frame(width=width), round(seconds * RATE))

    eye.add = add
    return eye


def widths(images):
    return [image.width for image in images]


# --- which frames ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "seen"),
    [
        (3.0, [25, 30]),  # The last second; what comes at its end counts, at its begin not.
        (2.9, [20, 25]),
        (2.4, [20]),
        (4.0, [35]),
        (5.4, [35]),  # Nothing in the last second: the newest,
        (5.5, [35]),  # if it came within two,
        (5.6, []),  # else nothing.
        (0.5, [35]),  # Nothing until then, but what came since is fresh.
    ],
)
def test_the_last_second_of_the_speech_else_the_newest_if_fresh(eye, end, seen):
    for seconds in (2.0, 2.5, 3.0, 3.5):
        eye.add(seconds, width=round(seconds * 10))
    assert widths(eye.frames(round(end * RATE))) == seen


def test_the_same_end_gives_the_same_frames(eye):
    eye.add(1.0, width=10)
    end = round(2.5 * RATE)
    assert widths(eye.frames(end)) == [10]
    eye.add(2.6, width=20)
    assert widths(eye.frames(end)) == [10], "the item shows what the answer was begun with"
    assert widths(eye.frames(end + 1)) == [20]


def test_the_client_is_told_which_frame_was_the_last(clock):
    told = []
    eye = Camera(SEER, told.append, clock)
    for number in (1, 2, 3):
        eye.look(frame(), number * RATE // 2, f"frame.{number}")
    eye.tell("item_1", eye.frames(RATE))
    eye.tell("item_2", ())
    ((seen),) = told
    assert seen["type"] == "parley.seen"
    assert (seen["item_id"], seen["count"], seen["frame"]) == ("item_1", 2, "frame.2")


def test_typed_questions_get_the_newest_if_it_is_fresh(eye, clock):
    assert eye.latest() == ()
    eye.add(1.0, width=10)
    eye.add(1.5, width=20)
    clock.now = 3.4
    assert widths(eye.latest()) == [20]
    clock.now = 3.6
    assert eye.latest() == ()


def test_memory_is_bounded_in_time_and_bytes(eye, monkeypatch):
    for number in range(100):
        eye.add(float(number))
    assert len(eye._frames) == 11
    monkeypatch.setattr(camera, "MOST_BYTES", 3 * len(picture("red")))
    eye.add(100.0)
    assert len(eye._frames) == 3


# --- limits ----------------------------------------------------------------------------------


def test_more_than_five_a_second_are_dropped(eye, clock):
    def sent_in(seconds, rate):
        taken = 0
        for number in range(round(seconds * rate)):
            try:
                eye.add(clock.now + 1 / rate, width=number + 1)
                taken += 1
            except ProtocolError as error:
                assert (error.code, error.param) == ("rate_limit_exceeded", "image")
        return taken

    assert sent_in(10, MOST_A_SECOND) == 50
    # What may come at once is used up first.
    assert 50 <= sent_in(10, 20) <= 50 + MOST_A_SECOND
    assert sent_in(2, 2) == 4


@pytest.mark.parametrize(
    ("sent", "code", "says"),
    [
        ("###", "invalid_image", "no base64"),
        ("AAAA", "invalid_image", "no JPEG"),
        ("A" * (MOST_FRAME_BYTES * 4 // 3 + 8), "image_too_big", "512,000"),
        ("https://example.org/a.jpg", "invalid_image", "Nothing is fetched"),
    ],
)
def test_what_is_no_frame_is_dropped(eye, sent, code, says):
    with pytest.raises(ProtocolError, match=says) as error:
        eye.look(sent, 0)
    assert (error.value.code, error.value.param) == (code, "image")
    assert eye.frames(0) == ()


def test_the_largest_frame_is_taken(eye):
    data = picture("red")
    data += bytes(MOST_FRAME_BYTES - len(data))
    eye.look(base64.b64encode(data).decode(), 0)
    assert len(eye.frames(0)) == 1
    with pytest.raises(ProtocolError, match="too big"):
        eye.look(base64.b64encode(data + b"\0").decode(), 0)


def test_the_blind_say_so_once(clock):
    told = []
    eye = Camera(MOLE, told.append, clock)
    for _ in range(3):
        eye.look("whatever", 0)
    assert [event["error"]["code"] for event in told] == ["cannot_see"]
    eye.switch(SEER, missed=True)
    eye.look(frame(), 0)
    eye.switch(MOLE, missed=True)
    eye.look(frame(), 0)
    assert len(told) == 1, "once per session and engine"
    assert eye.frames(0) == eye.latest() == ()


# --- over the line ---------------------------------------------------------------------------


async def set_session(caller, **session):
    count = len(caller.of("session.updated"))
    await caller.send(type="session.update", session={"type": "realtime", **session})
    await caller.wait("session.updated", count + 1)


async def send(caller, samples):
    data = base64.b64encode(samples.astype("<i2").tobytes()).decode()
    await caller.send(type="input_audio_buffer.append", audio=data)


async def speak(caller, question, frames, after=4.0):
    """A question in a quiet recording, faster than real time.

    Args:
        question: The clip.
        frames: Colours of the camera, by seconds before the end of the speech.
        after: Seconds of silence at the end.
    """
    pcm = question.resampled(WIRE_RATE).pcm16()
    loud = np.flatnonzero(np.abs(pcm) > 0.02 * 32767)
    quiet = np.zeros(4 * WIRE_RATE, np.int16)
    silence = np.zeros(round(after * WIRE_RATE), np.int16)
    signal = np.concatenate([quiet, pcm[loud[0] : loud[-1]], silence])
    end = len(quiet) + loud[-1] - loud[0]
    due = sorted((end - round(before * WIRE_RATE), colour) for before, colour in frames.items())
    for start in range(0, len(signal), 2400):
        while due and due[0][0] <= start:
            await caller.send(type="parley.camera", image=frame(due.pop(0)[1]))
        await send(caller, signal[start : start + 2400])


@pytest.mark.parametrize(
    ("frames", "seen", "shown"),
    [
        ({2.0: "red", 0.7: "blue", 0.4: "green"}, "2: 64 x 48 blue, 64 x 48 green", 2),
        ({3.5: "blue", 1.5: "red"}, "1: 64 x 48 red", 1),
        ({3.0: "red"}, "0: nothing", 0),
    ],
    ids=["last second", "fresh", "stale"],
)
def test_the_engine_sees_what_the_camera_saw(seeing_url, question, frames, seen, shown):
    async def converse():
        async with call(seeing_url, talking=False) as caller:
            await set_session(caller, model="seer", output_modalities=["text"])
            await speak(caller, question, frames)
            await caller.wait("response.done")
            return caller

    caller = asyncio.run(converse())
    (done,) = caller.of("response.done")
    assert done.response.output[0].content[0].text == f"Seer: I see {seen}. 0 messages."
    item = caller.of("conversation.item.done")[0].item
    assert [part.type for part in item.content] == ["input_audio"] + ["input_image"] * shown
    assert not caller.of("error")


def test_a_real_time_dialogue_with_the_camera_on(seeing_url, question):
    """Frames come twice a second while somebody speaks; the answer is spoken."""

    async def film(caller):
        while True:
            await caller.send(type="parley.camera", image=frame("yellow"))
            await asyncio.sleep(0.5)

    async def converse():
        async with call(seeing_url) as caller:
            await set_session(caller, model="seer")
            filming = asyncio.create_task(film(caller))
            caller.say(question)
            done = await caller.wait("response.done")
            filming.cancel()
            return caller, done.response.output[0].content[0].transcript

    caller, said = asyncio.run(converse())
    assert "64 x 48 yellow" in said
    assert sum(map(len, caller.sound)) > WIRE_RATE
    assert not caller.of("error")


def test_images_of_earlier_turns_are_shown_if_that_is_set(seeing_url, question):
    async def converse():
        async with call(seeing_url, talking=False) as caller:
            await set_session(caller, model="seer", output_modalities=["text"])
            await caller.send(type="parley.configure", images_in_history=True)
            await speak(caller, question, {0.5: "red"})
            await caller.wait("response.done")
            await speak(caller, question, {0.5: "blue"})
            done = await caller.wait("response.done", 2)
            return done.response.output[0].content[0].text

    said = asyncio.run(converse())
    assert said == "Seer: I see 1: 64 x 48 blue. Before: 64 x 48 red. 2 messages."


@pytest.mark.parametrize("detection", [None, {"type": "server_vad", "create_response": False}])
def test_each_frame_is_seen_once_where_the_answer_is_asked_for(seeing_url, question, detection):
    async def converse():
        async with call(seeing_url, talking=False) as caller:
            await set_session(
                caller,
                model="seer",
                output_modalities=["text"],
                audio={"input": {"turn_detection": detection}},
            )
            await speak(caller, question, {0.5: "red"}, after=1.0)
            if detection is None:
                await caller.send(type="input_audio_buffer.commit")
            await caller.wait("input_audio_buffer.committed")
            await caller.send(type="response.create")
            done = await caller.wait("response.done")
            return done.response.output[0].content[0].text

    assert asyncio.run(converse()) == "Seer: I see 1: 64 x 48 red. 0 messages."


def test_what_is_set_in_a_pause_counts_for_the_answer(seeing_url, question):
    """The answer was begun in that pause, in case the turn is over."""

    async def converse():
        async with call(seeing_url, talking=False) as caller:
            vad = {"type": "server_vad", "silence_duration_ms": 2000}
            await set_session(
                caller, output_modalities=["text"], audio={"input": {"turn_detection": vad}}
            )
            await speak(caller, question, {}, after=1.0)
            await set_session(caller, model="seer", instructions="New.")
            await send(caller, np.zeros(2 * WIRE_RATE, np.int16))
            done = await caller.wait("response.done")
            return caller, done.response.output[0].content[0].text

    caller, said = asyncio.run(converse())
    assert said == "Seer: I see 0: nothing. 0 messages. New."
    (heard,) = caller.of("conversation.item.input_audio_transcription.completed")
    assert heard.transcript == "Why is the sky blue?"


def test_a_typed_question_is_shown_what_the_camera_sees(seeing_url):
    async def converse():
        async with call(seeing_url, talking=False) as caller:
            await set_session(caller, model="seer", output_modalities=["text"])
            await caller.send(type="parley.camera", image=frame("green"))
            content = [{"type": "input_text", "text": "What do you see?"}]
            item = {"type": "message", "role": "user", "content": content}
            await caller.send(type="conversation.item.create", item=item)
            await caller.send(type="response.create")
            done = await caller.wait("response.done")
            return done.response.output[0].content[0].text

    assert asyncio.run(converse()) == "Seer: I see 1: 64 x 48 green. 0 messages."


def test_the_embedded_engine_says_once_that_it_cannot_see(page_url):
    async def converse():
        async with call(page_url, talking=False) as caller:
            for _ in range(12):
                await caller.send(type="parley.camera", image=frame())
            await caller.send(type="input_audio_buffer.clear")
            await caller.wait("input_audio_buffer.cleared")
            return caller.of("error")

    (error,) = asyncio.run(converse())
    assert error.error.code == "cannot_see"
    assert error.error.message.startswith("Embedded (CPU) cannot see.")


def test_what_is_wrong_with_a_frame_is_told_and_the_line_stays_open(seeing_url):
    async def converse():
        async with call(seeing_url, talking=False) as caller:
            await set_session(caller, model="seer")
            broken = await caller.refused(type="parley.camera", image="AAAA", event_id="mine")
            nothing = await caller.refused(type="parley.camera")
            for _ in range(200):
                await caller.send(type="parley.camera", image=frame())
            await caller.send(type="input_audio_buffer.clear")
            await caller.wait("input_audio_buffer.cleared")
            return broken, nothing, caller.of("error")[2:]

    broken, nothing, floods = asyncio.run(converse())
    assert (broken.code, broken.param, broken.event_id) == ("invalid_image", "image", "mine")
    assert (nothing.code, nothing.param) == ("invalid_event", "image")
    assert {error.error.code for error in floods} == {"rate_limit_exceeded"}
