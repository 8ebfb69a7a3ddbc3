"""A reply as a chat completion: whole, or in chunks."""

import base64
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engines.messages import (
    AudioChunk,
    Event,
    Finished,
    Notice,
    TextDelta,
    Timings,
    Transcript,
    Unanswered,
    Usage,
)
from rest.answers import sse
from speech.encoding import Kind, encoder
from voices.marks import Made, comment


@dataclass(frozen=True, slots=True)
class Reply:
    """What is known of a reply before it is made.

    Attributes:
        id: The protocol's.
        created: Unix time, seconds.
        model: As the client named it.
        limit: Tokens after which it breaks off.
        kind: Of its sound; None: it has none.
        made: What a file of it has to say of itself.
        keep: Keeps what was said under an id; returns until when.
    """

    id: str
    created: int
    model: str
    limit: int
    kind: Kind | None
    made: Made | None
    keep: Callable[[str, str], int]

    def body(self, kind: str) -> dict[str, Any]:
        """What every part of it begins with."""
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def finish_reason(self, usage: Usage) -> str:
        """Why it ended."""
        return "length" if usage.reply_tokens >= self.limit else "stop"


def completion(reply: Reply, events: Iterator[Event]) -> Iterator[dict[str, Any]]:
    """The whole reply, once it is there."""
    said, heard, sound, silence = "", "", b"", ""
    timings, usage, notices = Timings(), Usage(), list[str]()
    mark = comment(reply.made) if reply.made else ""
    coder = encoder(reply.kind, comment=mark, whole=True) if reply.kind else None
    for event in events:
        match event:
            case Transcript():
                heard = event.text
            case TextDelta():
                said += event.text
            case AudioChunk() if coder:
                sound += coder.add(event.audio)
            case Unanswered(text=silence):
                pass
            case Notice():
                notices.append(event.text)
            case Finished():
                timings, usage = event.timings, event.usage
    message: dict[str, Any] = {"role": "assistant", "content": said, "refusal": None}
    if coder:
        name = _audio_id()
        message["content"] = None
        message["audio"] = {
            "id": name,
            "data": base64.b64encode(sound + coder.finish()).decode(),
            "expires_at": reply.keep(name, said),
            "transcript": said,
        }
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": reply.finish_reason(usage),
    }
    yield reply.body("chat.completion") | {
        "choices": [choice],
        "usage": _counted(usage),
        "parley": _own(heard, timings, silence, notices),
    }


def chunks(reply: Reply, events: Iterator[Event], *, usage: bool) -> Iterator[bytes]:
    """The reply while it is made, as server-sent events."""
    coder = encoder(reply.kind) if reply.kind else None
    name, said, heard, silence = _audio_id(), "", "", ""
    cost, timings, notices = Usage(), Timings(), list[str]()
    base = reply.body("chat.completion.chunk")

    def chunk(delta: dict[str, Any], reason: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return sse(base | {"choices": [choice], **({"usage": None} if usage else {})} | more)

    def audio(**fields: Any) -> dict[str, Any]:
        return {"audio": {"id": name, **fields}}

    def speech(samples: bytes) -> dict[str, Any]:
        return audio(data=base64.b64encode(samples).decode())

    begun = False
    for event in events:
        if not begun:
            begun = True
            yield chunk({"role": "assistant"} | (audio() if coder else {"content": ""}))
        match event:
            case Transcript(text=heard):
                pass
            case TextDelta():
                said += event.text
                text = event.text
                yield chunk(audio(transcript=text) if coder else {"content": text})
            case AudioChunk() if coder and (samples := coder.add(event.audio)):
                yield chunk(speech(samples))
            case Unanswered(text=silence):
                pass
            case Notice():
                notices.append(event.text)
            case Finished():
                cost, timings = event.usage, event.timings
    if coder:
        if samples := coder.finish():
            yield chunk(speech(samples))
        yield chunk(audio(expires_at=reply.keep(name, said)))
    yield chunk({}, reply.finish_reason(cost), parley=_own(heard, timings, silence, notices))
    if usage:
        yield sse(base | {"choices": [], "usage": _counted(cost)})
    yield sse("[DONE]")


def _audio_id() -> str:
    return f"audio_{secrets.token_hex(12)}"


def _counted(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.reply_tokens,
        "total_tokens": usage.prompt_tokens + usage.reply_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def _own(heard: str, timings: Timings, silence: str, notices: Sequence[str]) -> dict[str, Any]:
    """What OpenAI has no field for.

    That is what was understood, when things were ready (seconds), why there is no answer, and
    what else should be known.
    """
    marks = {name: round(at, 3) for name, at in asdict(timings).items() if at is not None}
    own: dict[str, Any] = {"heard": heard, "timings": marks}
    own |= {"unanswered": silence} if silence else {}
    return own | ({"notices": list(notices)} if notices else {})
