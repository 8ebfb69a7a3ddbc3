"""A recognizer behind `/v1/audio/transcriptions`: vLLM, speaches, Parley, a hosted service."""

import io
import json
from collections.abc import AsyncGenerator, Callable
from copy import copy
from typing import Any

import soundfile

from engines.base import Cancel, Wishes
from engines.cascade.parts import RECOGNIZER_RATE, Recognized
from engines.messages import Span
from engines.remote.address import Remote, shown
from engines.remote.problems import RemoteError, malformed
from engines.remote.servers import Errand, Servers, in_words
from speech.pcm import Audio

#: Answers with times, and for services that have none, without.
TIMED = {"response_format": "verbose_json", "timestamp_granularities": ["word"]}
PLAIN = {"response_format": "json"}


class RemoteRecognizer:
    """A `Recognizer`; `Bound` to each request.

    Args:
        remote: Where it lies.
        model: Its name there.
        takes_key: The key of a session is meant for it.
    """

    def __init__(self, remote: Remote, model: str, *, takes_key: bool = False) -> None:
        self._servers = Servers(remote)
        self._model = model
        self._takes_key = takes_key
        self._prompt = ""
        self._errand = Errand()

    def bound(
        self, wishes: Wishes, cancel: Cancel, tell: Callable[[str], None]
    ) -> "RemoteRecognizer":
        """The recognizer for one request; see `Bound`."""
        bound = copy(self)
        bound._errand = Errand(cancel, wishes.key if self._takes_key else "", tell)
        return bound

    def expecting(self, prompt: str) -> "RemoteRecognizer":
        """The same recognizer after a text that may have come before; see `Attentive`."""
        expecting = copy(self)
        expecting._prompt = prompt
        return expecting

    def close(self) -> None:
        """Close the connections."""
        self._servers.close()

    def recognize(self, audio: Audio, language: str | None = None) -> Recognized:
        """Recognize one segment; see `Recognizer`."""
        clip = _as_wav(audio.resampled(RECOGNIZER_RATE))
        with in_words():
            try:
                return self._asked(clip, language, TIMED)
            except RemoteError as found:
                if not any(name in found.refused for name in ("response_format", "timestamp")):
                    raise
                return self._asked(clip, language, PLAIN)

    def _asked(self, clip: bytes, language: str | None, form: dict[str, Any]) -> Recognized:
        known = {"language": language} if language else {}
        if self._prompt:
            known["prompt"] = self._prompt

        async def request(client: Any) -> AsyncGenerator[Recognized]:
            answer = await client.audio.transcriptions.with_raw_response.create(
                model=self._model,
                file=("speech.wav", clip, "audio/wav"),
                extra_body=self._servers.remote.extra,
                **form,
                **known,
            )
            yield _read(answer.text, shown(str(client.base_url)))

        (recognized,) = self._servers.stream(request, self._errand)
        return recognized


def _read(body: str, where: str) -> Recognized:
    content = json.loads(body)
    if not isinstance(content, dict) or not isinstance(content.get("text"), str):
        raise malformed(where)
    timed = content.get("words") or content.get("segments") or ()
    spans = tuple(
        Span(str(each.get("word", each.get("text", ""))).strip(), each["start"], each["end"])
        for each in timed
    )
    return Recognized(content["text"].strip(), spans, _code(content.get("language")))


def _code(language: object) -> str | None:
    """ISO 639-1 code; OpenAI's own service gives names ("english"), which are dropped."""
    return language if isinstance(language, str) and len(language) == len("en") else None


def _as_wav(audio: Audio) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, audio.pcm16(), audio.rate, format="WAV", subtype="PCM_16")
    return file.getvalue()
