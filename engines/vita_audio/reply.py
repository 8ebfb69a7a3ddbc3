"""One request on its way through the models: text, speech and transcript side by side."""

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from codec.decoder import SpeechDecoder
from codec.speech_tokenizer import SpeechTokenizer
from codec.stream import DecoderStream, StreamPlan
from engines.base import Cancel, Stopwatch
from engines.cascade.stages import Channel, Stages
from engines.messages import (
    AudioChunk,
    Event,
    Finished,
    Span,
    TextDelta,
    Transcript,
    Usage,
    Waiting,
)
from engines.native.sampling import Drawing
from engines.notices import tell_nobody, telling
from engines.vita_audio.interleaving import Code, Interleaving, Text
from engines.vita_audio.prompts import ChatMessage, recognition
from engines.vita_audio.runtime import Heard, VitaAudio
from engines.vita_audio.schedule import VANILLA, Schedule
from speech.pcm import Audio
from speech.segments import Segment, split

#: Codes that may wait for the decoder: those of a long reply, so that it holds nothing back.
_CODES = 4096
#: Events that may wait for the listener.
_EVENTS = 64

#: The published generation_config.json; the scripts leave it in force.
REPETITION_PENALTY = 1.05
#: Of the published scripts.
TOP_K = 50

#: Most tokens of a transcript for a second of speech: people say three words a second.
_TOKENS_PER_SECOND = 12
_SHORTEST_TRANSCRIPT = 32

_SEEDS = 2**32

Put = Callable[[Event], None]


def drawing(temperature: float, top_p: float | None = None) -> Drawing:
    """How tokens are chosen; the published scripts leave `top_p` at 1."""
    return Drawing(temperature, TOP_K, 1.0 if top_p is None else top_p, REPETITION_PENALTY)


def seed_of(seed: int | None) -> int:
    """The seed of a request; None draws one."""
    return secrets.randbelow(_SEEDS) if seed is None else seed


@dataclass(frozen=True, slots=True)
class Models:
    """What a request borrows.

    Attributes:
        vita: The checkpoint.
        decoder: From codes to sound; None for a reply in text only.
        tokenizer: From sound to codes; None where the checkpoint has an encoder.
    """

    vita: VitaAudio
    decoder: SpeechDecoder | None = None
    tokenizer: SpeechTokenizer | None = None

    def hear(self, audio: Audio) -> Heard:
        """Take a clip in."""
        return self.vita.hear(audio, self.tokenizer)


def recognize(
    models: Models,
    audio: Audio,
    cancel: Cancel,
    on_position: Callable[[int], None] | None = None,
    tell: Callable[[str], None] = tell_nobody,
) -> Iterator[Transcript]:
    """Transcripts of more and more of a clip of any length; the last is final, maybe empty.

    Heads make mistakes that nobody checks, so the main model alone writes. `on_position` is told
    how many requests come before, while there is no place; `tell`, what the session should know.
    """
    text, spans = "", list[Span]()
    for segment in split(audio):
        cancel.check()
        part = _words(models, segment, cancel, on_position, tell)
        if part:
            end = segment.start + segment.audio.seconds
            spans.append(Span(part, segment.start, end))
            text = f"{text} {part}".strip()
        heard = segment.start + segment.audio.seconds
        yield Transcript(text, False, tuple(spans), heard)
    cancel.check()
    yield Transcript(text, True, tuple(spans), audio.seconds)


def _words(
    models: Models,
    segment: Segment,
    cancel: Cancel,
    on_position: Callable[[int], None] | None,
    tell: Callable[[str], None],
) -> str:
    heard = models.hear(segment.audio)
    most = max(_SHORTEST_TRANSCRIPT, round(segment.audio.seconds * _TOKENS_PER_SECOND))
    tokens = models.vita.write(
        models.vita.prompt(recognition(heard.speech)),
        (heard,),
        mode=VANILLA,
        drawing=drawing(0.0),
        seed=0,
        max_tokens=most,
        cancel=cancel,
        on_position=on_position,
        tell=tell,
    )
    reply = Interleaving(models.vita.vocabulary)
    made = (reply.take(token) for token in tokens)
    return "".join(piece.text for piece in made if isinstance(piece, Text)).strip()


@dataclass(frozen=True, slots=True)
class Part:
    """Something for the model to write.

    Attributes:
        messages: What it is shown.
        heard: The clips in them.
        max_text: Most tokens of text.
        max_codes: Most codes.
    """

    messages: Sequence[ChatMessage]
    heard: Sequence[Heard]
    max_text: int
    max_codes: int


@dataclass
class Reply:
    """One request.

    Attributes:
        models: Borrowed.
        parts: Written one after the other, spoken as one.
        mode: Which part of the model makes which token.
        drawing: How tokens are chosen.
        seed: Fixes what is random.
        watch: Runs since the request began.
        block: Codes that are rendered at once; 0: as many as is usual.
        question: Written down beside the reply; None: nothing was said.
        shown: Whether the text of the reply is handed out.
    """

    models: Models
    parts: Iterable[Part]
    mode: Schedule
    drawing: Drawing
    seed: int
    watch: Stopwatch
    block: int = 0
    question: Audio | None = None
    shown: bool = True
    _seconds: float = field(init=False, default=0.0)
    _usage: Usage = field(init=False, default=Usage())
    _heard: Channel[None] | None = field(init=False, default=None)

    @property
    def seconds(self) -> float:
        """Speech made so far."""
        return self._seconds

    def run(self, stages: Stages) -> Iterator[Event]:
        """The events of the reply, the last one `Finished`."""

        # Text and speech share one channel, so the listener gets both as they are made.
        def answer(put: Put) -> None:
            self._answer(stages, put)

        yield from stages.read(stages.run("answering", answer, size=_EVENTS))
        yield Finished(self.watch.timings(self._seconds), self._usage)

    def _answer(self, stages: Stages, put: Put) -> None:
        tell = telling(put)

        def write(hand_on: Callable[[int], None]) -> None:
            for number, part in enumerate(self.parts):
                self._write(part, number, put, hand_on, stages.stop, tell)

        codes = stages.run("the language model", write, size=_CODES)
        if self.models.decoder is None:
            for _ in codes:
                pass
        else:
            plan = StreamPlan.in_blocks(self.block)
            stream = self.models.decoder.open(seed=self.seed, plan=plan)
            for audio in _decoded(stream, codes, stages.stop):
                self.watch.mark("first_audio")
                self._seconds += audio.seconds
                put(AudioChunk(audio))
                # Now the listener has something to hear, and the steps of the transcript, which
                # come between those of the reply, delay nobody.
                self._write_down(stages, put)
        self._write_down(stages, put)
        for _ in self._heard or ():
            pass

    def _write_down(self, stages: Stages, put: Put) -> None:
        """Begin to write down the question, once."""
        question = self.question
        if question is None or self._heard is not None:
            return

        def work(_: Callable[[None], None]) -> None:
            for transcript in recognize(self.models, question, stages.stop):
                if transcript.final:
                    self.watch.mark("recognized")
                put(transcript)

        self._heard = stages.run("recognizing what was said", work)

    def _write(
        self,
        part: Part,
        number: int,
        put: Put,
        hand_on: Callable[[int], None],
        cancel: Cancel,
        tell: Callable[[str], None],
    ) -> None:
        """Put the text as it is made; hand on the codes of the speech."""
        vita = self.models.vita
        prompt = vita.prompt(part.messages)
        spoken = self.models.decoder is not None
        tokens = vita.write(
            prompt,
            part.heard,
            mode=self.mode,
            drawing=self.drawing,
            seed=self.seed + number,
            # Marks stand around each group of codes, which has eight or more.
            max_tokens=part.max_text + part.max_codes + part.max_codes // 4,
            cancel=cancel,
            on_position=lambda ahead: put(Waiting(ahead)),
            tell=tell,
        )
        if self.question is not None:
            self.watch.mark("encoded")
        reply = Interleaving(vita.vocabulary)
        words = codes = 0
        with closing(tokens):
            for token in tokens:
                self.watch.mark("first_token")
                match reply.take(token):
                    case Text(text):
                        words += 1
                        self.watch.mark("first_clause")
                        if self.shown:
                            put(TextDelta(text))
                    case Code(code):
                        codes += 1
                        if spoken:
                            hand_on(code)
                if words >= part.max_text or codes >= part.max_codes:
                    break
        prompts = self._usage.prompt_tokens + len(prompt.ids)
        self._usage = Usage(prompts, 0, self._usage.reply_tokens + words + codes)


def _decoded(stream: DecoderStream, codes: Iterable[int], cancel: Cancel) -> Iterator[Audio]:
    """The speech of codes as it becomes certain, its end included; nothing without a code."""
    pushed = False
    for code in codes:
        pushed = True
        audio = stream.push((code,), cancel.check)
        if len(audio):
            yield audio
    if pushed and len(rest := stream.finish(cancel.check)):
        yield rest
