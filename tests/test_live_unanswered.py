"""A live line with an engine that chooses silence: it listens on, and remembers nothing."""

import asyncio

import pytest
from live_line import dial, ending, receive
from vita15_checkpoint import place
from vita15_house import NAME, services_over

from bench.caller import call
from demos.page import launch
from engines.vita.runtime import Runtime
from engines.vita.vocabulary import HEARD, IGNORED


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    yield from services_over(
        place(tmp_path_factory.mktemp("data")), engine=NAME, max_live=1, live_idle=5
    )


@pytest.fixture(scope="module")
def url(house):
    page = launch(house, block=False)
    yield page.local_url
    page.close()


class Asked:
    """What the model read, and whether it is to keep silent."""

    def __init__(self):
        self.read = []
        self.silent = True


@pytest.fixture
def asked(monkeypatch):
    asked = Asked()

    def write(self, prompt, senses, **options):
        vocabulary = self.loaded.vocabulary
        asked.read.append(vocabulary.tokenizer.decode(list(prompt.ids), skip_special_tokens=False))
        reply = f"{IGNORED} for others." if asked.silent else f"{HEARD} the sky is blue."
        yield from vocabulary.encode(reply)

    monkeypatch.setattr(Runtime, "write", write)
    return asked


def test_what_is_not_meant_for_it_is_left_alone(url, asked, question):
    async def converse():
        async with call(url) as caller:
            caller.say(question)
            silence = await caller.wait("parley.unanswered")
            listening = len(caller.of("parley.state"))
            assert not caller.of("response.created")
            asked.silent = False
            caller.say(question)
            await caller.wait("response.done")
            return caller, silence, listening

    caller, silence, listening = asyncio.run(converse())
    assert "not meant for it" in silence.message
    (heard, *_) = caller.of("conversation.item.input_audio_transcription.completed")
    assert silence.item_id == heard.item_id
    assert "sky" in heard.transcript
    (gone,) = caller.of("conversation.item.deleted")
    assert gone.item_id == silence.item_id
    states = [event.state for event in caller.of("parley.state")]
    assert "thinking" in states[:listening]
    assert states[states.index("thinking") + 1] == "listening"
    (done,) = caller.of("response.done")
    assert done.response.output[0].content[0].transcript == "the sky is blue."
    # Neither the words nor an answer of the first turn are in the prompt of the second.
    assert "sky" not in asked.read[-1]
    assert asked.read[-1].count("<|im_start|>user") == 1
    assert not caller.of("error")


def test_a_response_that_was_asked_for_is_empty(url, asked):
    async def converse():
        async with call(url, talking=False) as caller:
            await caller.write("Is anybody there?")
            await caller.wait("response.done")
            return caller

    caller = asyncio.run(converse())
    (done,) = caller.of("response.done")
    assert done.response.status == "completed"
    assert not any(part.text or part.transcript for part in done.response.output[0].content)
    deleted = {event.item_id for event in caller.of("conversation.item.deleted")}
    assert {caller.of("parley.unanswered")[0].item_id, done.response.output[0].id} == deleted


def test_one_seat_a_waiting_line_and_an_end_to_silence(url):
    """The limits of live conversations hold for this engine as for every other one."""

    async def converse():
        async with dial(url) as first:
            await receive(first, "session.created")
            async with dial(url) as second:
                waiting = await receive(second, "parley.queue")
                code, _ = await ending(first)
                await receive(second, "session.created")
                return waiting, code

    waiting, code = asyncio.run(converse())
    assert waiting["ahead"] == 0
    assert code == 4408, "nobody said anything"
