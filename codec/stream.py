"""Decoding a reply while its codes are made.

The reference decodes everything again at every step, or gives the flow everything
so far as a prompt; its cost per second of speech grows with the reply. Here the
flow sees a window: some frames that are already out, the frames that were held
back, and the new ones. The encoder of codes, which is cheap, sees much more.

The last frames of a piece have nothing to their right, so they are held back and
rendered again with the next piece; mel and waveform are cross-faded from the old
rendering to the new. Both see the same noise and excitation, as these belong to the
frame and not to the call, so they differ little.

All positions are frames of the reply, and a frame is where one counts from its
start: nothing shifts from piece to piece.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from codec.flow import Check, never
from codec.reply import Codes, Reply, check_codes
from errors import InputError
from speech.pcm import Audio


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """How a reply is cut into pieces; lengths in codes.

    Attributes:
        first: Codes before the first sound.
        chunk: Codes of each further piece.
        first_hold: Held back from the first piece, less than `first`: what is held back
            is heard later.
        hold: Held back from the others.
        context: Speech already out that the flow sees.
        memory: Further codes that only the encoder sees.
        steps: Euler steps of the first, second, ... piece; the last holds for the rest.
        prompt: Longest voice prompt; of a longer one the end is used.
    """

    first: int = 8
    chunk: int = 25
    first_hold: int = 2
    hold: int = 3
    context: int = 5
    memory: int = 100
    steps: tuple[int, ...] = (4, 6, 8, 10)
    prompt: int = 38

    @staticmethod
    def in_blocks(size: int) -> "StreamPlan":
        """The usual plan with other pieces after the first one; 0 leaves them, too."""
        return StreamPlan(chunk=size) if size else StreamPlan()

    def __post_init__(self) -> None:
        whole = (self.first_hold, self.hold, self.context, self.prompt, *self.steps)
        if not self.steps or min(whole) < 1 or self.memory < 0:
            raise InputError("Every size of a stream's plan is at least 1.")
        if self.first <= self.first_hold or self.chunk <= self.hold:
            raise InputError("A piece of a stream has more codes than are held back of it.")


@dataclass(slots=True)
class _State:
    """How far a reply is. Its size does not depend on how long the reply is.

    Attributes:
        piece: Pieces rendered.
        pending: Codes not rendered yet.
        codes: The codes that the encoder will see again.
        dropped: Codes before those, forgotten.
        held_from: The code from which on mel is held back.
        out: First frame that is held back; all before it are out.
        mel: Mel up to `out`, as far back as is needed.
        held: Mel from `out` on, as last rendered.
        excitation: Excitation up to `out`, as far back as is needed.
        turned: Turns of the pitch at `out`.
        tail: Samples from `out` on, to fade from.
    """

    mel: Tensor
    held: Tensor
    excitation: Tensor
    tail: Tensor
    turned: Tensor | None = None
    piece: int = 0
    pending: list[int] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    dropped: int = 0
    held_from: int = 0
    out: int = 0

    @property
    def rendered(self) -> int:
        """Codes rendered so far."""
        return self.dropped + len(self.codes)


class DecoderStream:
    """One reply; made by `SpeechDecoder.open`.

    Everything there is of the reply is in this object. It may be dropped at any time.

    Args:
        reply: Models, voice and noise.
        plan: Sizes of the pieces.
    """

    def __init__(self, reply: Reply, plan: StreamPlan) -> None:
        self._reply = reply
        self._plan = plan
        self._models = reply.models
        self._clock = reply.models.clock
        device = reply.models.flow.device
        nothing = torch.zeros(1, reply.models.config.flow.mels, 0, device=device)
        silence = torch.zeros(1, 1, 0, device=device)
        self._state: _State | None = _State(nothing, nothing, silence, silence[0, 0])

    @torch.inference_mode()
    def push(self, codes: Codes, check: Check = never) -> Audio:
        """Take codes, give the speech that became certain.

        Args:
            codes: The next codes of the reply, one or more.
            check: Called before every step of the models. It stops the work by raising; the
                stream is over then.

        Returns:
            Zero or more samples.

        Raises:
            InputError: If there is no code, one is out of range, or the stream is over;
                what came before stays as it is.
            EngineError: If the result is not finite; the stream is over then.
        """
        state = self._open()
        checked = check_codes(codes, self._models.config.flow.vocabulary)
        if not checked:
            raise InputError("Nothing was pushed. Push one code or more, and finish() at the end.")
        state.pending += checked
        pieces = []
        while len(state.pending) >= (size := self._size(state)):
            pieces.append(self._guarded(state, size, check, last=False))
        return self._joined(pieces)

    @torch.inference_mode()
    def finish(self, check: Check = never) -> Audio:
        """The rest of the speech; the stream is over then.

        Args:
            check: As for `push`.

        Raises:
            InputError: If it was over before.
            EngineError: If the result is not finite.
        """
        state = self._open()
        pieces = [self._guarded(state, len(state.pending), check, last=True)]
        self._state = None
        return self._joined(pieces)

    def _open(self) -> _State:
        if self._state is None:
            raise InputError("This stream is over. Open another one for the next reply.")
        return self._state

    def _size(self, state: _State) -> int:
        return self._plan.chunk if state.piece else self._plan.first

    def _joined(self, pieces: list[Tensor]) -> Audio:
        return self._reply.audio(torch.cat(pieces) if pieces else torch.zeros(0))

    def _guarded(self, state: _State, size: int, check: Check, *, last: bool) -> Tensor:
        """`_piece`; a failure ends the stream, as half of its state may have moved."""
        try:
            return self._piece(state, size, check, last=last)
        except BaseException:
            self._state = None
            raise

    def _piece(self, state: _State, size: int, check: Check, *, last: bool) -> Tensor:
        """Render the next `size` codes and give what is certain, `[samples]`."""
        if size:
            state.codes += state.pending[:size]
            del state.pending[:size]
            self._render_mel(state, check)
            state.piece += 1
        hold = 0 if last else self._plan.hold if state.piece > 1 else self._plan.first_hold
        end = self._clock.frames(state.rendered - hold)
        check()
        wave = self._render_wave(state, end)
        self._reply.require_finite(wave, "samples")
        state.held_from = state.rendered - hold
        self._forget(state)
        return wave

    def _render_mel(self, state: _State, check: Check) -> None:
        """Replace what is held back by a new rendering of it and of the new codes."""
        plan, clock = self._plan, self._clock
        last = clock.frames(state.rendered)
        # Pieces of as many codes get windows of as many frames, so that shapes repeat.
        window = clock.frames(state.rendered - state.held_from + plan.context) + 1
        first = max(0, last - window)
        start = self._first_frame(state.dropped)
        index = clock.codes_at(start, last).clamp(max=state.rendered - 1) - state.dropped
        condition = self._reply.condition(state.codes, index)
        ahead = self._reply.prompt.frames
        condition = torch.cat(
            (condition[:, :, :ahead], condition[:, :, ahead + first - start :]), dim=2
        )
        steps = plan.steps[min(state.piece, len(plan.steps) - 1)]
        known = state.mel[:, :, state.mel.shape[2] - (state.out - first) :]
        mel = self._reply.mel(condition, known, first, last, steps, check)
        mel = mel[:, :, state.out - first :]
        overlap = state.held.shape[2]
        rising = _rise(overlap, mel)
        mel[:, :, :overlap] = rising * mel[:, :, :overlap] + (1 - rising) * state.held
        state.held = mel

    def _render_wave(self, state: _State, end: int) -> Tensor:
        """Samples from `out` to `end`, which becomes `out`."""
        hop = self._clock.hop
        back = min(state.mel.shape[2], self._models.vocoder.reach)
        mel = torch.cat((state.mel[:, :, state.mel.shape[2] - back :], state.held), dim=2)
        if not mel.shape[2]:
            return state.tail
        pitch = self._models.vocoder.pitch(mel)[:, back:]
        fresh, turns = self._reply.excite(pitch, state.out, state.turned)
        past = state.excitation[:, :, state.excitation.shape[2] - back * hop :]
        excitation = torch.cat((past, fresh), dim=2)
        wave = self._models.vocoder.render(mel, excitation)[0, back * hop :]
        faded = min(len(state.tail), len(wave))
        rising = _rise(faded, wave)
        wave[:faded] = rising * wave[:faded] + (1 - rising) * state.tail[:faded]
        new = end - state.out
        out, state.tail = wave[: new * hop], wave[new * hop : (new + 1) * hop].clone()
        if new:
            state.turned = turns[new - 1]
        state.mel = torch.cat((state.mel, state.held[:, :, :new]), dim=2)
        state.held = state.held[:, :, new:].clone()
        state.excitation = torch.cat((state.excitation, fresh[:, :, : new * hop]), dim=2)
        state.out = end
        return out

    def _forget(self, state: _State) -> None:
        """Drop what no later piece can need."""
        plan, clock = self._plan, self._clock
        reach = max(clock.frames(plan.context) + 2, self._models.vocoder.reach)
        state.mel = state.mel[:, :, -reach:].clone()
        state.excitation = state.excitation[:, :, -reach * clock.hop :].clone()
        block = self._models.config.flow.encoder.block
        seen = state.held_from - plan.context - 1 - plan.memory
        # Whole blocks, so that the encoder's blocks are those of the whole reply.
        surplus = max(0, seen // block * block - state.dropped)
        del state.codes[:surplus]
        state.dropped += surplus

    def _first_frame(self, code: int) -> int:
        """The first frame at which a code sounds."""
        frame = self._clock.frames(code)
        while self._clock.code_at(frame) < code:
            frame += 1
        return frame


def _rise(size: int, like: Tensor) -> Tensor:
    """From 0 to 1 by half a cosine, `[size]`."""
    middle = (torch.arange(size, device=like.device, dtype=like.dtype) + 0.5) / max(1, size)
    return (1 - torch.cos(math.pi * middle)) / 2
