"""A synthesizer behind `/v1/audio/speech`: vLLM-Omni, speaches, Parley, a hosted service."""

import base64
import io
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from typing import Any

import numpy as np
import soundfile
import soxr

from engines.base import Cancel, Reference, Voice, Wishes
from engines.remote.address import Remote, shown
from engines.remote.config import PCM_RATE
from engines.remote.problems import malformed
from engines.remote.servers import Errand, Servers, in_words
from errors import EngineError
from speech.pcm import Audio

#: Bytes of one sample.
SAMPLE = 2
_RATE = re.compile(r"rate\s*=\s*(\d+)")


class RemoteSynthesizer:
    """A `StreamingSynthesizer`; `Bound` to each request.

    Args:
        remote: Where it lies.
        model: Its name there.
        voices: What it can speak with.
        rate: Of the PCM that it sends, unless that says otherwise, Hz.
        takes_key: The key of a session is meant for it.
    """

    #: Whatever the server sends, this is what comes out, Hz.
    rate = PCM_RATE

    def __init__(
        self,
        remote: Remote,
        model: str,
        voices: tuple[Voice, ...],
        rate: int = PCM_RATE,
        *,
        takes_key: bool = False,
    ) -> None:
        self._servers = Servers(remote)
        self._model = model
        self.voices = voices
        self._sent_rate = rate
        self._takes_key = takes_key
        self._errand = Errand()

    def bound(
        self, wishes: Wishes, cancel: Cancel, tell: Callable[[str], None]
    ) -> "RemoteSynthesizer":
        """The synthesizer for one request; see `Bound`."""
        bound = copy(self)
        bound._errand = Errand(cancel, wishes.key if self._takes_key else "", tell)
        return bound

    def close(self) -> None:
        """Close the connections."""
        self._servers.close()

    @contextmanager
    def begin(
        self,
        voice: str | Reference,
        *,
        style: str,
        random: np.random.Generator,
        cancel: Cancel,
    ) -> Iterator["_RemoteReply"]:
        """Begin to speak a reply; see `StreamingSynthesizer`. The server draws its own numbers."""
        fields: dict[str, Any] = {"voice": voice if isinstance(voice, str) else "default"}
        extra = dict(self._servers.remote.extra)
        if isinstance(voice, Reference):
            extra |= _as_fields(voice)
        if style:
            fields["instructions"] = style
        yield _RemoteReply(self, {**fields, "model": self._model, "extra_body": extra})

    def _stream(self, fields: dict[str, Any]) -> Iterator[Audio]:
        """Ask for one clause; its pieces at `rate`."""

        async def request(client: Any) -> AsyncGenerator[Audio]:
            asked = client.audio.speech.with_streaming_response.create(
                response_format="pcm", **fields
            )
            async with asked as response:
                pcm = _Pcm(response.headers, self._sent_rate, self.rate)
                if not pcm.is_sound:
                    raise malformed(shown(str(client.base_url)))
                async for piece in response.iter_bytes():
                    if len(audio := pcm.take(piece)):
                        yield audio
                if len(audio := pcm.finish()):
                    yield audio
                if not pcm.any:
                    raise malformed(shown(str(client.base_url)))

        with in_words():
            yield from self._servers.stream(request, self._errand)


class _RemoteReply:
    """A `SpokenReply`: every clause is a request of its own."""

    def __init__(self, synthesizer: RemoteSynthesizer, fields: dict[str, Any]) -> None:
        self._synthesizer = synthesizer
        self._fields = fields

    def speak(self, clause: str) -> Iterator[Audio]:
        """Speak one clause; see `SpokenReply`."""
        return self._synthesizer._stream({**self._fields, "input": clause.strip()})


class _Pcm:
    """Bytes to samples at the wanted rate, across pieces of any length."""

    def __init__(self, headers: Mapping[str, str], usual: int, wanted: int) -> None:
        kind = headers.get("content-type", "").lower()
        self.is_sound = not kind.startswith(("application/json", "text/"))
        found = _RATE.search(kind)
        said = found[1] if found else headers.get("x-sample-rate", "")
        rate = int(said) if said.isdigit() and int(said) else usual
        self._wanted = wanted
        self._resampler = soxr.ResampleStream(rate, wanted, 1) if rate != wanted else None
        self._rest = b""
        self.any = False

    def take(self, piece: bytes) -> Audio:
        if not self.any and piece.startswith(b"RIFF"):
            raise EngineError("The server sent a WAV file where PCM was asked for.")
        self.any = self.any or bool(piece)
        piece = self._rest + piece
        whole = len(piece) - len(piece) % SAMPLE
        self._rest = piece[whole:]
        samples = np.frombuffer(piece[:whole], "<i2").astype(np.int16)
        return self._resampled(Audio.from_pcm16(samples, self._wanted), last=False)

    def finish(self) -> Audio:
        return self._resampled(Audio(np.zeros(0, np.float32), self._wanted), last=True)

    def _resampled(self, audio: Audio, *, last: bool) -> Audio:
        if self._resampler is None:
            return audio
        return Audio(self._resampler.resample_chunk(audio.samples, last=last), self._wanted)


def _as_fields(reference: Reference) -> dict[str, str]:
    """A reference as vLLM-Omni takes it."""
    file = io.BytesIO()
    soundfile.write(file, reference.audio.pcm16(), reference.audio.rate, format="WAV")
    clip = base64.b64encode(file.getvalue()).decode()
    fields = {"ref_audio": f"data:audio/wav;base64,{clip}"}
    return fields | ({"ref_text": reference.transcript} if reference.transcript else {})
