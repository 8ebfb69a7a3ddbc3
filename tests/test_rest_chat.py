"""Chat as programs ask for it: the official client over a real server."""

import asyncio
import base64
import io
import json

import httpx
import numpy as np
import openai
import pytest
import soundfile
from conftest import SAMPLES
from seeing_engine import picture

SKY = base64.b64encode((SAMPLES / "sky.wav").read_bytes()).decode()
AUDIO = {"type": "input_audio", "input_audio": {"data": SKY, "format": "wav"}}


def text(words, role="user"):
    return {"role": role, "content": words}


def ask(client, *messages, **options):
    options = {"model": "default", **options}
    return client.chat.completions.create(messages=list(messages), **options)


def test_text(openai_client):
    told = ask(openai_client, text("You are a poet.", "system"), text("Say hello."))
    assert told.object == "chat.completion" and told.model == "default"
    (choice,) = told.choices
    assert len(choice.message.content) > 3
    assert choice.message.role == "assistant" and choice.message.audio is None
    assert choice.finish_reason == "stop"
    assert told.usage.total_tokens == told.usage.prompt_tokens + told.usage.completion_tokens > 10


def test_a_reply_that_is_cut_says_so(openai_client):
    told = ask(openai_client, text("Count to a hundred."), max_completion_tokens=5)
    assert told.choices[0].finish_reason == "length"
    assert told.usage.completion_tokens == 5


def test_text_streamed(openai_url):
    """With the asynchronous client; the last chunk has what it cost."""

    async def chunks():
        async with openai.AsyncOpenAI(base_url=openai_url, api_key="none") as client:
            stream = await client.chat.completions.create(
                model="embedded",
                messages=[text("Name three colours.")],
                stream=True,
                max_tokens=60,
                stream_options={"include_usage": True},
                temperature=0,
                seed=1,
            )
            return [chunk async for chunk in stream]

    *chunks, end, usage = asyncio.run(chunks())
    assert chunks[0].choices[0].delta.role == "assistant"
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert len(said) > 10
    assert end.choices[0].finish_reason == "stop"
    assert usage.usage.completion_tokens > 5 and usage.choices == []


def test_speech_in_and_out(openai_client):
    told = ask(
        openai_client,
        {"role": "user", "content": [AUDIO]},
        modalities=["text", "audio"],
        audio={"voice": "default", "format": "wav"},
    )
    message = told.choices[0].message
    assert message.content is None
    assert "blue" in message.audio.transcript.lower()
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(message.audio.data)))
    assert rate == 24_000 and len(samples) > 24_000
    assert told.parley["heard"] == "Why is the sky blue?"
    assert told.parley["timings"]["first_audio"] < told.parley["timings"]["total"]


def test_speech_streamed(openai_client):
    chunks = list(
        ask(
            openai_client,
            {"role": "user", "content": [{"type": "text", "text": "Answer in five words:"}, AUDIO]},
            modalities=["text", "audio"],
            audio={"voice": "default", "format": "pcm16"},
            stream=True,
        )
    )
    audio = [c.choices[0].delta.audio for c in chunks if getattr(c.choices[0].delta, "audio", None)]
    parts = [part if isinstance(part, dict) else part.model_dump() for part in audio]
    assert len({part["id"] for part in parts}) == 1
    said = "".join(part.get("transcript") or "" for part in parts)
    sound = b"".join(base64.b64decode(part.get("data") or "") for part in parts)
    assert len(said) > 5
    assert len(np.frombuffer(sound, "<i2")) > 24_000
    assert parts[-1]["expires_at"] > 1_700_000_000
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].parley["heard"] == "Why is the sky blue?"


def test_the_dialogue_is_what_the_client_sends(openai_client):
    boat = text("Hello, my boat is called Pelican. Please remember that.")
    question = text("What is my boat called?")
    answer = ask(openai_client, boat, text("I will.", "assistant"), question)
    assert "Pelican" in answer.choices[0].message.content
    assert "Pelican" not in ask(openai_client, question).choices[0].message.content


def test_a_spoken_reply_is_known_by_its_id(openai_client):
    """And an earlier question that was spoken is read by the model, too."""
    told = ask(
        openai_client,
        text("Say: your boat is called Pelican."),
        modalities=["text", "audio"],
        audio={"voice": "default", "format": "mp3"},
    )
    spoken = told.choices[0].message.audio
    assert "Pelican" in spoken.transcript
    reply = {"role": "assistant", "audio": {"id": spoken.id}}
    told = ask(
        openai_client, {"role": "user", "content": [AUDIO]}, reply, text("How is my boat called?")
    )
    assert "Pelican" in told.choices[0].message.content
    with pytest.raises(openai.BadRequestError, match="Nobody knows") as caught:
        ask(openai_client, text("Hi."), {"role": "assistant", "audio": {"id": "x"}}, text("So?"))
    assert caught.value.param == "messages[1].audio.id"


def test_images_reach_engines_that_see(seeing_url, openai_client):
    url = "data:image/jpeg;base64," + base64.b64encode(picture("red")).decode()
    shown = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}
    seeing = openai.OpenAI(base_url=f"{seeing_url}v1", api_key="none", max_retries=0)
    before = {"role": "user", "content": [{"type": "text", "text": "See."}, *shown["content"]]}
    told = ask(seeing, shown, model="seer")
    assert told.choices[0].message.content.startswith("Seer: I see 1: 64 x 48 red.")
    told = ask(seeing, before, text("I do.", "assistant"), text("And now?"), model="seer")
    assert "I see 0: nothing. Before: 64 x 48 red. 2 messages." in told.choices[0].message.content
    with pytest.raises(openai.BadRequestError, match="cannot see"):
        ask(openai_client, shown)


def part(**fields):
    return {"role": "user", "content": [fields]}


def sound(data):
    return part(type="input_audio", input_audio={"data": data})


@pytest.mark.parametrize(
    ("messages", "param", "message"),
    [
        ([], "messages", "last message"),
        ([text("Hi.", "assistant")], "messages", "last message"),
        ([text("  ")], "messages[0]", "empty"),
        ([text("Hi.", "wizard"), text("Hi.")], "messages[0].role", "wizard"),
        ([part(type="file")], "messages[0].content[0].type", "not served"),
        ([part(type="text")], "messages[0].content[0]", "incomplete"),
        ([part(type="input_audio", input_audio={"data": "%"})], "messages[0].content[0]", "base64"),
        (
            [part(type="input_audio", input_audio={"data": "aGk="})],
            "messages[0].content[0]",
            "sound",
        ),
        (
            [part(type="image_url", image_url={"url": "https://a.example/b.png"})],
            "messages[0].content[0]",
            "Nothing is fetched",
        ),
        ([text(5)], "messages[0].content", "string"),
    ],
)
def test_bad_messages_are_told(openai_client, messages, param, message):
    with pytest.raises(openai.BadRequestError, match=message) as caught:
        ask(openai_client, *messages)
    assert caught.value.param.startswith(param)


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"n": 2}, "n"),
        ({"stop": ["x"]}, "stop"),
        ({"top_p": 0}, "top_p"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"modalities": ["text", "audio"], "audio": {"voice": "nobody"}}, "audio.voice"),
        (
            {"modalities": ["text", "audio"], "audio": {"format": "mp3"}, "stream": True},
            "audio.format",
        ),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"extra_body": {"wings": True}}, "wings"),
    ],
)
def test_what_is_not_served_is_refused(openai_client, options, param):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(openai_client, text("Hi."), **options)
    assert caught.value.param == param


def test_top_p_is_heeded(openai_client):
    """Of a tiny share only the likeliest word is left, however freely it is drawn."""
    told = [
        ask(
            openai_client,
            text("Tell me something about the sea."),
            temperature=2,
            top_p=0.001,
            seed=seed,
            max_tokens=12,
        )
        for seed in (1, 2)
    ]
    assert len({answer.choices[0].message.content for answer in told}) == 1


def test_what_changes_nothing_is_taken(openai_client):
    told = ask(
        openai_client,
        text("Say hello."),
        n=1,
        top_p=1,
        stop=None,
        tools=[],
        user="ann",
        store=False,
        metadata={"a": "b"},
        max_tokens=3,
    )
    assert told.choices[0].message.content


def test_a_stream_ends_as_clients_expect(openai_url):
    body = {"model": "default", "messages": [text("Say hello.")], "stream": True, "max_tokens": 3}
    answer = httpx.post(f"{openai_url}/chat/completions", json=body, timeout=60)
    events = answer.text.strip().split("\n\n")
    assert events[-1] == "data: [DONE]"
    assert all(json.loads(event[6:])["id"].startswith("chatcmpl-") for event in events[:-1])
