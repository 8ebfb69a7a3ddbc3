"""What clients set, over the real WebSocket: engines, responses, and changes while one speaks."""

import asyncio

import numpy as np

from bench.caller import call


async def ask(caller, text="What now?", **response):
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    await caller.send(type="conversation.item.create", item=item)
    done = len(caller.of("response.done"))
    await caller.send(type="response.create", **({"response": response} if response else {}))
    return (await caller.wait("response.done", done + 1)).response


async def set_session(caller, **session):
    count = len(caller.of("session.updated"))
    await caller.send(type="session.update", session={"type": "realtime", **session})
    return (await caller.wait("session.updated", count + 1)).session


def test_switching_engines(seeing_url):
    async def converse():
        async with call(seeing_url, talking=False) as caller:
            begin = await caller.wait("parley.engine")
            created = caller.of("session.created")[0].session
            error = await caller.refused(
                type="session.update", session={"type": "realtime", "model": "nobody"}
            )
            await set_session(caller, model="seer", output_modalities=["text"])
            first = await ask(caller)
            updated = await set_session(caller, model="mole")
            second = await ask(caller)
            await set_session(caller, model="mole")
            back = await set_session(caller, model="default")
            return caller, begin, created, error, first, updated, second, back

    caller, begin, created, error, first, updated, second, back = asyncio.run(converse())
    kinds = [event.type for event in caller.events]
    assert kinds[:2] == ["session.created", "parley.engine"]
    assert begin.name == created.model == "embedded"
    assert (begin.can_see, begin.reference, begin.speaks) == (False, "match", ["en"])
    assert begin.voices[0]["name"] == created.audio.output.voice
    assert [engine["name"] for engine in begin.engines] == ["embedded", "seer", "mole"]
    assert [engine["can_see"] for engine in begin.engines] == [False, True, False]
    assert (error.code, error.param) == ("model_not_found", "session.model")
    assert "seer" in error.message
    assert first.output[0].content[0].text == "Seer: I see 0: nothing. 0 messages."
    assert (updated.model, updated.audio.output.voice) == ("mole", "gruff")
    assert second.output[0].content[0].text == "Mole: I see 0: nothing. 2 messages."
    assert back.model == "embedded"
    names = [event.name for event in caller.of("parley.engine")]
    assert names == ["embedded", "seer", "mole", "embedded"], "no news where nothing changes"


def test_a_client_may_name_its_engine_at_the_door(seeing_url):
    async def converse(model):
        async with call(seeing_url, talking=False, model=model) as caller:
            return await caller.wait("parley.engine")

    engines = [asyncio.run(converse(model)).name for model in ("mole", "default", "gpt-realtime")]
    assert engines == ["mole", "embedded", "embedded"], "a model that is not ours is the default"


def test_a_reply_under_way_is_interrupted_by_a_switch(seeing_url):
    async def converse():
        async with call(seeing_url, talking=False) as caller:
            await set_session(caller, model="seer", instructions="Words " * 40)
            content = [{"type": "input_text", "text": "Go."}]
            item = {"type": "message", "role": "user", "content": content}
            await caller.send(type="conversation.item.create", item=item)
            await caller.send(type="response.create")
            await caller.wait("response.output_audio.delta", 2)
            await set_session(caller, model="mole")
            done = await caller.wait("response.done")
            again = await ask(caller, max_output_tokens=1)
            return done.response, again

    done, again = asyncio.run(converse())
    assert done.status == "cancelled"
    assert again.status == "completed"
    assert again.output[0].content[0].transcript == "Mole:"


def test_a_response_with_settings_of_its_own(seeing_url):
    async def converse():
        async with call(seeing_url, talking=False) as caller:
            await set_session(caller, model="seer", instructions="Mine.")
            own = await ask(
                caller,
                instructions="Yours.",
                output_modalities=["text"],
                metadata={"number": "one"},
            )
            usual = await ask(caller, output_modalities=["text"])
            error = await caller.refused(type="response.create", response={"conversation": "none"})
            created = caller.of("response.created")[0].response
            return own, usual, created, error

    own, usual, created, error = asyncio.run(converse())
    assert own.output[0].content[0].text.endswith("Yours.")
    assert own.metadata == created.metadata == {"number": "one"}
    assert usual.output[0].content[0].text.endswith("Mine.")
    assert usual.metadata is None
    assert error.param == "response.conversation"


def test_a_turn_committed_by_hand_is_answered_as_the_response_says(seeing_url, question):
    """It is guessed at when it is committed, under the settings of the session."""

    async def converse():
        async with call(seeing_url) as caller:
            await set_session(
                caller,
                model="seer",
                instructions="Mine.",
                output_modalities=["text"],
                audio={"input": {"turn_detection": None}},
            )
            for number, response in enumerate(
                [{}, {"instructions": "Yours.", "metadata": {"a": "b"}}], 1
            ):
                caller.say(question)
                await caller.said()
                await caller.send(type="input_audio_buffer.commit")
                await caller.wait("input_audio_buffer.committed", number)
                await caller.send(type="response.create", response=response)
                await caller.wait("response.done", number)
            # What is set between the commit and the request counts, too.
            caller.say(question)
            await caller.said()
            await caller.send(type="input_audio_buffer.commit")
            await caller.wait("input_audio_buffer.committed", 3)
            await set_session(caller, model="mole")
            await caller.send(type="response.create")
            await caller.wait("response.done", 3)
            return caller

    caller = asyncio.run(converse())
    texts = [event.response.output[0].content[0].text for event in caller.of("response.done")]
    assert texts[0].endswith("Mine.")
    assert texts[1].endswith("Yours.")
    assert texts[2].startswith("Mole")
    assert caller.of("response.done")[1].response.metadata == {"a": "b"}
    heard = caller.of("conversation.item.input_audio_transcription.completed")
    assert [event.transcript for event in heard] == ["Why is the sky blue?"] * 3
    assert not caller.of("error")


def test_a_question_that_is_too_long_is_refused_and_the_next_one_answered(seeing_url):

    async def converse():
        async with call(seeing_url, talking=False) as caller:
            await set_session(caller, model="seer", output_modalities=["text"])
            content = [{"type": "input_text", "text": "word " * 20_001}]
            item = {"type": "message", "role": "user", "content": content}
            error = await caller.refused(type="conversation.item.create", item=item)
            return error, await ask(caller)

    error, answered = asyncio.run(converse())
    assert "PARLEY_MAX_TEXT" in error.message
    assert answered.status == "completed"


def test_configure_over_the_line(seeing_url):
    async def converse():
        async with call(seeing_url, talking=False) as caller:
            await caller.send(type="parley.configure", hold_ms=1000, history_limit=2)
            set_so = await caller.wait("parley.configured")
            error = await caller.refused(
                type="parley.configure", hold_ms=900, echo_grace_ms=10**6, event_id="mine"
            )
            await caller.send(type="parley.configure", event_id="other")
            still = await caller.wait("parley.configured", 2)
            await set_session(caller, model="seer", output_modalities=["text"])
            answers = [await ask(caller) for _ in range(3)]
            return set_so, error, still, answers[-1]

    set_so, error, still, answer = asyncio.run(converse())
    assert (set_so.hold_ms, set_so.history_limit, set_so.images_in_history) == (1000, 2, False)
    assert (error.param, error.event_id) == ("echo_grace_ms", "mine")
    assert still.hold_ms == 1000, "what is refused changes nothing"
    assert answer.output[0].content[0].text.endswith("2 messages.")


def test_settings_change_while_somebody_speaks(seeing_url, question):
    """The word being spoken is not lost, and time goes on."""

    async def converse():
        async with call(seeing_url) as caller:
            await set_session(caller, model="seer", output_modalities=["text"])
            caller.say(question)
            await caller.wait("input_audio_buffer.speech_started")
            await caller.send(type="parley.configure", interrupt_after_ms=300, hold_ms=700)
            turns = {"type": "semantic_vad", "eagerness": "high"}
            await set_session(caller, audio={"input": {"turn_detection": turns}})
            await caller.wait("response.done")
            return caller

    caller = asyncio.run(converse())
    (heard,) = caller.of("conversation.item.input_audio_transcription.completed")
    assert heard.transcript == "Why is the sky blue?"
    (started,) = caller.of("input_audio_buffer.speech_started")
    (stopped,) = caller.of("input_audio_buffer.speech_stopped")
    assert stopped.audio_end_ms - started.audio_start_ms > 500


def test_no_transcripts_for_those_who_want_none(seeing_url, question):
    async def converse():
        async with call(seeing_url) as caller:
            shown = await set_session(
                caller,
                model="seer",
                output_modalities=["text"],
                audio={"input": {"transcription": None}},
            )
            caller.say(question)
            done = await caller.wait("response.done")
            await ask(caller)
            return caller, shown, done.response

    caller, shown, _ = asyncio.run(converse())
    assert shown.audio.input.transcription is None
    assert not [e for e in caller.events if "transcription" in e.type]
    last = caller.of("response.done")[-1].response
    assert last.output[0].content[0].text.endswith("2 messages."), "the history has the words"


def test_a_voice_of_the_library_answers(page_url):
    async def converse():
        async with call(page_url, talking=False) as caller:
            begin = await caller.wait("parley.engine")
            voice = {"output": {"voice": "Rowan"}}
            updated = await set_session(caller, audio=voice)
            spoken = await ask(caller, "Say hello.")
            unknown = {"output": {"voice": "Nobody"}}
            error = await caller.refused(
                type="session.update", session={"type": "realtime", "audio": unknown}
            )
            return caller, begin, updated, spoken, error

    caller, begin, updated, spoken, error = asyncio.run(converse())
    assert begin.reference == "match"
    names = [voice["name"] for voice in begin.voices]
    assert names[0] == "heart" and "Rowan" in names
    assert updated.audio.output.voice == "Rowan"
    assert spoken.status == "completed"
    sound = np.concatenate(caller.sound)
    assert len(sound) / 24_000 > 0.3 and np.abs(sound).max() > 2000
    assert (error.code, error.param) == ("invalid_value", "session.audio.output.voice")
    assert "Rowan" in error.message
