"""The dialogue of a live conversation as a `gr.Chatbot` shows it."""

from dataclasses import dataclass
from typing import Any

from demos.thread import plain

Message = dict[str, Any]


@dataclass(slots=True)
class _Row:
    role: str
    text: str = ""
    unheard: str = ""

    @property
    def content(self) -> str:
        if not self.text and not self.unheard:
            return "…"
        crossed_out = f" ~~{plain(self.unheard)}~~" if self.unheard else ""
        return plain(self.text) + crossed_out


class Dialogue:
    """Follows the events of a session; newest last, words as they come."""

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}

    def messages(self) -> list[Message]:
        """The whole dialogue."""
        return [{"role": row.role, "content": row.content} for row in self._rows.values()]

    def take(self, event: Message) -> None:
        """Note what an event changes; most change nothing."""
        match event:
            case {"type": "input_audio_buffer.speech_started", "item_id": item}:
                self._row(item, "user")
            case {"type": "parley.transcript", "item_id": item, "text": text}:
                self._row(item, "user").text = text
            case {
                "type": "conversation.item.input_audio_transcription.completed",
                "item_id": item,
                "transcript": text,
            }:
                self._row(item, "user").text = text
                if not text.strip():
                    del self._rows[item]
            case {
                "type": "conversation.item.input_audio_transcription.failed",
                "item_id": item,
            }:
                self._rows.pop(item, None)
            case {"type": "response.output_item.added", "item": {"id": item}}:
                self._row(item, "assistant")
            case {
                "type": "response.output_audio_transcript.delta",
                "item_id": item,
                "delta": text,
            }:
                self._row(item, "assistant").text += text
            case {"type": "conversation.item.retrieved", "item": {"id": item, "content": content}}:
                self._cut(item, "".join(part["transcript"] for part in content))

    def _row(self, item: str, role: str) -> _Row:
        return self._rows.setdefault(item, _Row(role))

    def _cut(self, item: str, heard: str) -> None:
        """A reply was interrupted: what was not heard is crossed out."""
        row = self._rows.get(item)
        if row is None:
            return
        said, count = row.text.split(), len(heard.split())
        row.text, row.unheard = " ".join(said[:count]), " ".join(said[count:])
