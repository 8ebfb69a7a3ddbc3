"""Live conversations over the real WebSocket, held by the official `openai` client."""

import asyncio
import re

import numpy as np
import pytest
from conftest import SAMPLES

from bench.caller import call
from engines.base import Cancel
from speech.files import read_clip


@pytest.fixture(scope="module")
def story():
    return read_clip(SAMPLES / "story.wav").audio


@pytest.fixture(autouse=True, scope="module")
def warm(services):
    """The models are loaded before anybody is waiting for an answer."""
    with services.models.use(*services.engine().models("sqa", "en"), cancel=Cancel()):
        pass


def test_two_spoken_turns(page_url, question):
    async def converse():
        async with call(page_url) as caller:
            for turn in (1, 2):
                caller.say(question)
                await caller.wait("response.done", turn)
            return caller

    caller = asyncio.run(converse())
    kinds = [event.type for event in caller.events]
    in_order = [
        "session.created",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.input_audio_transcription.completed",
        "response.created",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_item.done",
        "response.done",
    ]
    places = [kinds.index(kind) for kind in in_order]
    assert places == sorted(places)
    for heard in caller.of("conversation.item.input_audio_transcription.completed"):
        assert heard.transcript == "Why is the sky blue?"
    for done in caller.of("response.done"):
        assert done.response.status == "completed"
        (item,) = done.response.output
        deltas = [
            event.delta
            for event in caller.of("response.output_audio_transcript.delta")
            if event.response_id == done.response.id
        ]
        assert item.content[0].transcript == "".join(deltas)
    sound = np.concatenate(caller.sound)
    assert np.abs(sound).max() > 3000
    assert len(sound) / 24_000 > 2
    assert not caller.of("error")


def test_a_reply_that_is_held_back_is_not_shown_as_spoken(page_url):
    """Where somebody else was just answered, speech waits until there is plenty of it."""

    async def converse():
        async with call(page_url) as other, call(page_url) as caller:
            await other.write("Say yes.")
            await other.wait("response.done")
            await caller.write("Count from one to thirty in words.")
            await caller.wait("response.done")
            return [event for event in caller.events if event.type != "parley.timings"]

    events = asyncio.run(converse())
    kinds = [event.type for event in events]
    first = kinds.index("response.output_audio.delta")
    states = [at for at, event in enumerate(events) if event.type == "parley.state"]
    spoken = next(at for at in states if events[at].state == "speaking")
    assert spoken == first - 1


def test_words_are_shown_while_they_are_spoken(page_url, services, story):
    *_, final, _ = services.transcribe(story, language="en", cancel=Cancel())
    told = words_of(final.text)

    async def converse():
        async with call(page_url) as caller:
            caller.say(story)
            over = await caller.said()
            await caller.wait("conversation.item.input_audio_transcription.completed")
            return caller, over

    caller, over = asyncio.run(converse())
    shown = caller.of("parley.transcript")
    assert shown[0].received < over
    begun = [event.item_id for event in caller.of("input_audio_buffer.speech_started")]
    assert {event.item_id for event in shown} <= set(begun)
    heard = [word for event in shown for word in words_of(event.text)]
    assert sum(word in told for word in heard) > 0.7 * len(heard) > 0
    final = caller.of("conversation.item.input_audio_transcription.completed")[0]
    delta = caller.of("conversation.item.input_audio_transcription.delta")[0]
    assert (delta.item_id, delta.delta) == (final.item_id, final.transcript)


def words_of(text):
    return re.findall(r"[a-z']+", text.lower())


def test_timings_come_with_the_first_sound(page_url, question):
    async def converse():
        async with call(page_url) as caller:
            caller.say(question)
            await caller.wait("response.done")
            return caller

    caller = asyncio.run(converse())
    first, last = (caller.of("parley.timings")[at] for at in (0, -1))
    assert first.received < caller.of("response.done")[0].received
    assert "last_sent" in last.marks and "last_sent" not in first.marks
    in_order = ("transcript", "first_token", "first_audio", "first_sent")
    assert [first.marks[name] for name in in_order] == sorted(first.marks[n] for n in in_order)


def test_an_interruption_silences_and_only_what_was_heard_is_kept(page_url, question):
    async def converse():
        async with call(page_url) as caller:
            await caller.send(
                type="conversation.item.create",
                item={
                    "type": "message",
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "Tell me the history of Rome at length."}
                    ],
                },
            )
            await caller.send(type="response.create")
            await caller.wait("response.output_audio.delta", 8)
            caller.say(question)
            done = await caller.wait("response.done")
            item_id = done.response.output[0].id
            await caller.send(type="conversation.item.retrieve", item_id=item_id)
            kept = await caller.wait("conversation.item.retrieved")
            await caller.wait("response.created", 2)
            return caller, done, kept

    caller, done, kept = asyncio.run(converse())
    assert done.response.status == "cancelled"
    assert done.response.status_details.reason == "turn_detected"
    begun = caller.of("input_audio_buffer.speech_started")[0]
    spoken = "".join(
        event.delta
        for event in caller.of("response.output_audio_transcript.delta")
        if event.response_id == done.response.id
    )
    heard = kept.item.content[0].transcript
    assert heard and len(heard) < len(spoken)
    words = heard.split()
    assert spoken.split()[: len(words) - 1] == words[:-1]
    # Nothing of the old reply is sent after the interruption is known.
    stale = [
        event
        for event in caller.of("response.output_audio.delta")
        if event.response_id == done.response.id and event.received > begun.received + 0.05
    ]
    assert not stale


def test_audio_stays_at_most_half_a_second_ahead(page_url):
    async def converse():
        async with call(page_url) as caller:
            await caller.send(
                type="session.update", session={"type": "realtime", "max_output_tokens": 40}
            )
            await _ask(caller, "Count from one to twenty.")
            await caller.wait("response.done")
            return caller

    caller = asyncio.run(converse())
    deltas = caller.of("response.output_audio.delta")
    began = deltas[0].received
    sent = 0.0
    for event, samples in zip(deltas, caller.sound, strict=True):
        sent += len(samples) / 24_000
        assert sent - (event.received - began) < 0.75
    assert sent > 2


def test_truncate(page_url):
    async def converse():
        async with call(page_url) as caller:
            await _ask(caller, "Count from one to ten.")
            done = await caller.wait("response.done")
            item_id = done.response.output[0].id
            await caller.send(
                type="conversation.item.truncate",
                item_id=item_id,
                content_index=0,
                audio_end_ms=700,
            )
            await caller.wait("conversation.item.truncated")
            await caller.send(type="conversation.item.retrieve", item_id=item_id)
            return done, await caller.wait("conversation.item.retrieved")

    done, kept = asyncio.run(converse())
    full = done.response.output[0].content[0].transcript
    assert len(kept.item.content[0].transcript) < len(full) / 2


def test_text_only_and_instructions(page_url):
    async def converse():
        async with call(page_url, talking=False) as caller:
            await caller.send(
                type="session.update",
                session={
                    "type": "realtime",
                    "output_modalities": ["text"],
                    "instructions": "Answer every question with the single word BANANA.",
                },
            )
            await caller.wait("session.updated")
            await _ask(caller, "What is your name?")
            await caller.wait("response.done")
            return caller

    caller = asyncio.run(converse())
    assert not caller.sound
    (done,) = caller.of("response.output_text.done")
    assert "banana" in done.text.lower()


def test_commit_by_hand(page_url, question):
    async def converse():
        async with call(page_url) as caller:
            await caller.send(
                type="session.update",
                session={"type": "realtime", "audio": {"input": {"turn_detection": None}}},
            )
            await caller.wait("session.updated")
            caller.say(question)
            await asyncio.sleep(question.seconds + 1)
            assert not caller.of("response.created"), "nobody asked for an answer"
            await caller.send(type="input_audio_buffer.commit")
            await caller.wait("input_audio_buffer.committed")
            await asyncio.sleep(0.5)
            assert not caller.of("response.created")
            await caller.send(type="response.create")
            await caller.wait("response.done")
            return caller

    caller = asyncio.run(converse())
    (heard,) = caller.of("conversation.item.input_audio_transcription.completed")
    assert "sky" in heard.transcript


def test_cancel(page_url):
    async def converse():
        async with call(page_url) as caller:
            await _ask(caller, "Tell me the history of Rome at length.")
            await caller.wait("response.output_audio.delta", 2)
            await caller.send(type="response.cancel")
            done = await caller.wait("response.done")
            error = await caller.refused(type="response.cancel")
            return done, error

    done, error = asyncio.run(converse())
    assert done.response.status == "cancelled"
    assert error.code == "response_cancel_not_active"


def test_sessions_do_not_cross(page_url):
    async def remember(name):
        async with call(page_url, talking=False) as caller:
            await caller.send(
                type="session.update",
                session={"type": "realtime", "output_modalities": ["text"]},
            )
            await _ask(caller, f"My boat is called {name}. Please remember it.")
            await caller.wait("response.done")
            await _ask(caller, "What is my boat called?")
            await caller.wait("response.done", 2)
            return caller.of("response.output_text.done")[-1].text

    async def both():
        return await asyncio.gather(remember("Pelican"), remember("Albatross"))

    one, two = asyncio.run(both())
    assert "Pelican" in one and "Albatross" not in one
    assert "Albatross" in two and "Pelican" not in two


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"type": "no.such.event"}, "unknown_event"),
        ({"no": "type"}, "unknown_event"),
        ({"type": "input_audio_buffer.append", "audio": "###"}, "invalid_audio"),
        ({"type": "input_audio_buffer.append", "audio": "AAAA"}, "invalid_audio"),
        ({"type": "input_audio_buffer.append"}, "invalid_event"),
        ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty"),
        ({"type": "response.create"}, "nothing_to_answer"),
        ({"type": "conversation.item.delete", "item_id": "none"}, "item_not_found"),
        (
            {
                "type": "session.update",
                "session": {
                    "type": "realtime",
                    "audio": {"input": {"format": {"type": "audio/pcmu"}}},
                },
            },
            "invalid_value",
        ),
        (
            {
                "type": "session.update",
                "session": {"type": "realtime", "audio": {"output": {"voice": "nobody"}}},
            },
            "invalid_value",
        ),
        (
            {
                "type": "conversation.item.create",
                "item": {
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_image", "image_url": "data:image/jpeg;base64,AA"}],
                },
            },
            "cannot_see",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_told_and_the_line_stays_open(page_url, sent, code):
    async def converse():
        async with call(page_url, talking=False) as caller:
            error = await caller.refused(**sent, event_id="mine")
            await caller.send(type="input_audio_buffer.clear")
            await caller.wait("input_audio_buffer.cleared")
            return error

    error = asyncio.run(converse())
    assert error.code == code, error.message
    assert error.event_id == "mine"


async def _ask(caller, text):
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    await caller.send(type="conversation.item.create", item=item)
    await caller.send(type="response.create")
