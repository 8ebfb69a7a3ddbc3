"""Speech to text as programs ask for it: the official client over a real server."""

import re

import httpx
import openai
import pytest
import soundfile
from conftest import SAMPLES

from engines.messages import Span
from rest.subtitles import cues, srt, vtt

SKY = "Why is the sky blue?"
CLOCK = r"\d\d:\d\d:\d\d[,.]\d\d\d"


def transcribe(client, clip="sky.wav", **options):
    options = {"model": "default", "language": "en", **options}
    with (SAMPLES / clip).open("rb") as file:
        return client.audio.transcriptions.create(file=file, **options)


def test_json_and_text(openai_client):
    told = transcribe(openai_client)
    assert told.text == SKY
    assert told.usage.type == "duration" and told.usage.seconds >= 1
    assert transcribe(openai_client, response_format="text") == f"{SKY}\n"


def test_subtitles(openai_client):
    told = transcribe(openai_client, "story.wav", response_format="srt")
    assert re.match(rf"1\n{CLOCK} --> {CLOCK}\n\S", told)
    told = transcribe(openai_client, "story.wav", response_format="vtt")
    assert re.match(rf"WEBVTT\n\n{CLOCK} --> {CLOCK}\n\S", told)


def test_verbose(openai_client, story):
    told = transcribe(openai_client, "story.wav", response_format="verbose_json")
    assert told.duration == pytest.approx(story.seconds, abs=0.01)
    assert told.language == "en"
    assert told.words is None
    assert " ".join(segment.text for segment in told.segments) == told.text
    ends = [0.0, *(segment.end for segment in told.segments)]
    assert all(
        before <= segment.start < segment.end <= story.seconds + 0.1
        for before, segment in zip(ends, told.segments, strict=False)
    )


@pytest.mark.parametrize("language", ["en", None])
def test_words_have_times(openai_client, language):
    options = {"language": language} if language else {"language": openai.omit}
    told = transcribe(
        openai_client,
        response_format="verbose_json",
        timestamp_granularities=["word"],
        **options,
    )
    assert [word.word.strip(",.?").lower() for word in told.words] == SKY.lower()[:-1].split()
    assert told.segments is None
    assert told.language == "en"


def test_a_prompt_tells_how_names_are_spelled(openai_client):
    speech = openai_client.audio.speech.create(
        model="default",
        voice="default",
        input="My sister is called Katherine.",
        response_format="wav",
        extra_body={"seed": 0},
    )

    def heard(prompt):
        file = ("speech.wav", speech.content)
        return openai_client.audio.transcriptions.create(
            model="default", file=file, language="en", prompt=prompt
        ).text

    assert "Kathryn" in heard("Kathryn, Kathryn and Kathryn.")
    assert "Kathryn" not in heard("Catherine, Catherine and Catherine.")


def test_events(openai_client):
    deltas, done = [], []
    for event in transcribe(openai_client, "story.wav", stream=True):
        (deltas if event.type == "transcript.text.delta" else done).append(event)
    (last,) = done
    assert last.type == "transcript.text.done"
    assert "".join(event.delta for event in deltas) == last.text
    assert len(last.text.split()) > 15


@pytest.mark.parametrize(
    ("options", "status", "param", "message"),
    [
        ({"model": "whisper-9"}, 404, "model", "no model 'whisper-9'"),
        ({"language": "xx"}, 400, "file", "does not know the language"),
        ({"response_format": "docx"}, 400, "response_format", "srt"),
        ({"temperature": 0.5}, 400, "temperature", "at 0"),
        ({"include": ["logprobs"]}, 400, "include", "not served"),
        ({"timestamp_granularities": ["letter"]}, 400, "timestamp_granularities[0]", "word"),
    ],
)
def test_bad_input_is_told(openai_client, options, status, param, message):
    with pytest.raises(openai.APIStatusError) as caught:
        transcribe(openai_client, **options)
    assert caught.value.status_code == status
    assert caught.value.param == param
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty"), (b"This is no sound.\n" * 100, "not a sound file"), (None, "silent|hear")],
)
def test_a_file_that_is_no_speech_is_told(openai_client, tmp_path, content, message):
    path = tmp_path / "secret-name.wav"
    if content is None:
        soundfile.write(path, [0.0] * 16_000, 16_000)
    else:
        path.write_bytes(content)
    with pytest.raises(openai.BadRequestError, match=message) as caught, path.open("rb") as file:
        openai_client.audio.transcriptions.create(model="default", file=file)
    assert caught.value.param == "file"
    assert "/tmp" not in caught.value.message


def test_a_form_that_is_none_is_told(openai_url):
    url = f"{openai_url}/audio/transcriptions"
    answer = httpx.post(url, json={"model": "default"})
    assert answer.status_code == 400 and "form" in answer.json()["error"]["message"]
    for parts, param in (
        ({"model": (None, "default")}, "file"),
        ({"file": ("a.wav", b"a")}, "model"),
        ({"model": (None, "default"), "sound": ("a.wav", b"a")}, "sound"),
        ({"model": (None, "default"), "file": (None, "text")}, "file"),
    ):
        answer = httpx.post(url, files=parts)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_cues_end_where_sentences_and_breath_do():
    words = [
        Span(word, at, at + 0.3)
        for word, at in (("One", 0), ("two.", 0.4), ("Three", 0.8), ("four", 2.5), ("five", 2.9))
    ]
    shown = cues(words, "en")
    assert [cue.text for cue in shown] == ["One two.", "Three", "four five"]
    assert (shown[0].start, shown[0].end) == (0, 0.7)
    assert [cue.text for cue in cues(words[3:], "ja")] == ["fourfive"]
    long = cues([Span("word", at / 4, at / 4 + 0.25) for at in range(100)], "en")
    assert all(len(cue.text) <= 84 and cue.end - cue.start <= 7 for cue in long)


def test_subtitles_are_written_as_players_read_them():
    shown = [Span("a < b & c", 3661.0254, 3662.9996)]
    assert srt(shown) == "1\n01:01:01,025 --> 01:01:03,000\na < b & c\n"
    assert vtt(shown) == "WEBVTT\n\n01:01:01.025 --> 01:01:03.000\na &lt; b &amp; c\n"
