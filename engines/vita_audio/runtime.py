"""A loaded VITA-Audio checkpoint: what hears, what writes, and what its ids stand for."""

from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec.speech_tokenizer import SpeechTokenizer
from engines.base import Cancel
from engines.native.memory import require_free
from engines.native.quantization import Precision
from engines.native.sampling import Drawing
from engines.native.snapshot import Snapshot
from engines.native.steps import Steps, settled
from engines.needs import WEIGHT_BYTES
from engines.notices import tell_nobody
from engines.remote.address import Remote
from engines.vita_audio.checkpoint import load_language_model
from engines.vita_audio.config import LanguageConfig
from engines.vita_audio.fbank import FilterBank
from engines.vita_audio.generation import Generation
from engines.vita_audio.layout import CODES, Sizes, encoder_weights, verify
from engines.vita_audio.prompts import ChatMessage, Codes, Persona, Prompt, Rows, Speech, encode
from engines.vita_audio.remote import RemoteGeneration
from engines.vita_audio.schedule import MODES, VANILLA, Schedule
from engines.vita_audio.sensevoice import QUERIES, UNUSED, EncoderConfig, SenseVoice
from engines.vita_audio.vocabulary import Vocabulary
from engines.vllm.client import TokenServer
from errors import InputError
from speech.pcm import Audio

#: Tensors of a Plus checkpoint that are not its encoder's.
_LANGUAGE_MODEL = r"lm_head\..*|mtp_.*|model\.(layers|norm|embed_tokens)\..*"


@dataclass(frozen=True, slots=True)
class Loading:
    """How a checkpoint is loaded.

    Attributes:
        name: Of the checkpoint.
        sizes: What it is known to be.
        device: `cpu`, `cuda`, `cuda:1`.
        dtype: In which the language model computes.
        precision: Of the weights of its linear layers.
        window: Most tokens of a prompt with its reply; 0: what the model was trained on.
        users: Replies that are made at once.
        mode: Name of the speed mode of replies.
        persona: Whom it plays.
        codes: Codes of the speech codec.
        remote: vLLM servers that write in the place of weights here.
        served: Name of the model there; empty: the only one.
    """

    name: str
    sizes: Sizes
    device: str = "cpu"
    dtype: torch.dtype = torch.bfloat16
    precision: Precision = "full"
    window: int = 8192
    users: int = 4
    mode: str = "vanilla"
    persona: Persona = field(default_factory=Persona)
    codes: int = CODES
    remote: Remote | None = None
    served: str = ""


@dataclass(frozen=True, slots=True)
class Ears:
    """Hears rows of an encoder, which is part of the checkpoint.

    Attributes:
        bank: Makes features.
        encoder: Makes rows of features, in float32.
    """

    bank: FilterBank
    encoder: SenseVoice


@dataclass(frozen=True, slots=True)
class Heard:
    """A clip as the model takes it: codes, or features that the encoder turns into rows."""

    codes: tuple[int, ...] | None = None
    features: NDArray[np.float32] | None = None

    @property
    def speech(self) -> Speech:
        """Its place in a prompt."""
        if self.codes is not None:
            return Codes(self.codes)
        assert self.features is not None
        return Rows(len(self.features) + QUERIES)


class VitaAudio:
    """A loaded checkpoint; it keeps nothing of a request.

    Args:
        language: Writes.
        vocabulary: What ids stand for.
        steps: Where the steps of all requests run.
        ears: None where speech comes in as codes.
        mode: Speed mode of replies.
        persona: Whom it plays.
    """

    def __init__(
        self,
        language: Generation | RemoteGeneration,
        vocabulary: Vocabulary,
        steps: Steps,
        ears: Ears | None,
        mode: Schedule,
        persona: Persona,
    ) -> None:
        self.language = language
        self.vocabulary = vocabulary
        self.mode = mode
        self.persona = persona
        self._steps = steps
        self._ears = ears

    def hear(self, audio: Audio, tokenizer: SpeechTokenizer | None) -> Heard:
        """Take a clip in.

        Args:
            audio: Any rate and length.
            tokenizer: Makes codes; None for a checkpoint that has an encoder of its own.
        """
        if self._ears is not None:
            return Heard(features=self._ears.bank(audio.samples, audio.rate))
        assert tokenizer is not None
        return Heard(codes=tuple(tokenizer.encode(audio.samples, audio.rate)))

    def prompt(self, messages: Sequence[ChatMessage]) -> Prompt:
        """Messages as ids."""
        return encode(self.vocabulary, messages)

    def write(
        self,
        prompt: Prompt,
        heard: Sequence[Heard],
        *,
        mode: Schedule,
        drawing: Drawing,
        seed: int | None,
        max_tokens: int,
        cancel: Cancel,
        on_position: Callable[[int], None] | None = None,
        tell: Callable[[str], None] = tell_nobody,
    ) -> Generator[int]:
        """The tokens of a reply, as they are made; the clips are encoded when this returns.

        Args:
            prompt: What the model is shown.
            heard: The clips in it, in the order of the prompt.
            mode: Which part of the model makes which token.
            drawing: How tokens are chosen.
            seed: Fixes what is random.
            max_tokens: Longest reply.
            cancel: Stops the reply within a step.
            on_position: Told how many requests come before, while there is no place.
            tell: Told what the session should know.
        """
        stop: Collection[int] = self.vocabulary.stops | set(self.language.model.config.ends)
        embeddings = None
        if prompt.places:
            self._require_room(len(prompt.ids))
            embeddings = self._steps.call(lambda: self._embedded(prompt, heard), cancel=cancel)
        return self.language.generate(
            prompt.ids,
            embeddings=embeddings,
            mode=mode,
            drawing=drawing,
            seed=seed,
            stop=stop,
            max_tokens=max_tokens,
            cancel=cancel,
            on_position=on_position,
            tell=tell,
        )

    def close(self) -> None:
        """Stop what runs."""
        self._steps.close()
        if isinstance(self.language, RemoteGeneration):
            self.language.close()

    def _require_room(self, length: int) -> None:
        """Refuse what is too long to be answered before the encoder works on it."""
        if length >= self.language.window:
            raise InputError(
                f"The conversation is {length} tokens long with what was said last, but only "
                f"{self.language.window} are kept, with the reply. Start a new conversation, or "
                "say less."
            )

    def _embedded(self, prompt: Prompt, heard: Sequence[Heard]) -> Tensor:
        """[prompt, H], with the rows of each clip in their place."""
        assert self._ears is not None
        model = self.language.model
        embedded = model.embed(torch.tensor(prompt.ids, device=model.device))[0]
        clips = [torch.from_numpy(clip.features) for clip in heard if clip.features is not None]
        for place, rows in zip(prompt.places, self._ears.encoder(clips), strict=True):
            embedded[place.start : place.stop] = rows.to(embedded)
        return settled(embedded)


def load(
    folder: Path,
    loading: Loading,
    *,
    normalisation: Path | None = None,
    on_progress: Callable[[float], None] | None = None,
    cancel: Cancel | None = None,
) -> VitaAudio:
    """Load a checkpoint.

    Args:
        folder: As on the Hub.
        loading: How.
        normalisation: Folder with SenseVoice's am.mvn, for a checkpoint with an encoder.
        on_progress: Told the share of the weights that is read.
        cancel: Stops the load.

    Raises:
        CheckpointError: If it is not the checkpoint, or a part of it is absent or damaged.
        UnavailableError: If there is not the memory for it.
        CancelledError: If `cancel` was set.
    """
    config = LanguageConfig.read(folder)
    snapshot = Snapshot(folder)
    verify(snapshot, config, loading.sizes, loading.name)
    vocabulary = Vocabulary.load(
        folder,
        size=config.vocabulary,
        codes=loading.codes,
        continuous=config.hears == "embeddings",
    )
    language_model = None
    if loading.remote is None:
        require_memory(config, loading)
        total = snapshot.size
        language_model = load_language_model(
            folder,
            device=loading.device,
            dtype=loading.dtype,
            precision=loading.precision,
            on_progress=None if on_progress is None else lambda done: on_progress(done / total),
            cancel=cancel,
        )
    ears = None
    if config.hears == "embeddings":
        ears = Ears(
            FilterBank.load(normalisation or folder), _encoder(snapshot, loading.device, cancel)
        )
    steps = Steps(loading.name, loading.users)
    window = min(loading.window, config.window) or config.window
    language: Generation | RemoteGeneration
    if language_model is not None:
        language = Generation(language_model, steps, window=window, codes=vocabulary.speech)
    else:
        assert loading.remote is not None
        server = TokenServer(loading.remote, loading.served)
        language = RemoteGeneration(server, folder, config, window=window)
    mode = schedule(config, loading.mode) if loading.remote is None else VANILLA
    return VitaAudio(language, vocabulary, steps, ears, mode, loading.persona)


def schedule(config: LanguageConfig, mode: str) -> Schedule:
    """A speed mode by name, as far as a checkpoint has heads for it.

    Raises:
        InputError: If the name is none.
    """
    if mode not in MODES:
        raise InputError(f"There is no speed mode {mode!r}: {', '.join(MODES)}.")
    return MODES[mode] if config.heads else VANILLA


def memory(config: LanguageConfig, loading: Loading) -> tuple[int, int]:
    """Bytes of the weights, and of what is kept of all conversations at once at most."""
    rounded = loading.precision != "full"
    each = WEIGHT_BYTES[loading.precision] if rounded else loading.dtype.itemsize
    weights = config.weights * each + 4 * encoder_weights(loading.sizes)
    window = min(loading.window, config.window) or config.window
    kept = config.cached_per_token * loading.dtype.itemsize * window * loading.users
    return round(weights), kept


def require_memory(config: LanguageConfig, loading: Loading) -> None:
    """Refuse a load that cannot end well, before anything is read.

    Raises:
        UnavailableError: If less is free than the weights and one conversation take.
    """
    weights, kept = memory(config, loading)
    require_free(
        loading.name,
        device=loading.device,
        weights=weights,
        what=f"its weights ({_described(loading)})",
        each=kept // loading.users,
        window=loading.window or config.window,
        settings="PARLEY_VITA",
    )


def _described(loading: Loading) -> str:
    return (
        str(loading.dtype).removeprefix("torch.")
        if loading.precision == "full"
        else loading.precision
    )


@torch.inference_mode()
def _encoder(snapshot: Snapshot, device: str, cancel: Cancel | None) -> SenseVoice:
    with torch.device("meta"):
        encoder = SenseVoice(EncoderConfig.of(snapshot.shapes, snapshot.folder))
    snapshot.load(
        encoder,
        device=device,
        dtype=torch.float32,  # It is a fiftieth of the whole, and what it makes is heard.
        names=encoder.names(),
        ignored=f"{UNUSED}|{_LANGUAGE_MODEL}",
        cancel=cancel,
    )
    return encoder.eval()
