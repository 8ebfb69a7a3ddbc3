"""A voice for the decoder."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class Voice:
    """What the flow may be told about how to sound.

    What it changes, honestly: the prompt (codes and mel of the same stretch of speech)
    is continued by the flow, and moves timbre, loudness and room towards it; how far
    depends on the weights. The published ones were trained on one speaker, so they keep
    much of that voice whatever the prompt, and with a prompt far from it the speech may
    suffer. The speaker embedding was zero in all of the published training and use:
    giving one moves the sound somewhere, not reliably towards the speaker. Neither
    changes words, language or rhythm: those are in the codes. This is no cloning, and
    must not be called so.

    Attributes:
        codes: The prompt's codes, int64 `[codes]`; None for no prompt.
        mel: The prompt's log-mel (`codec.mel.log_mel`), float32 `[mels, frames]`, from the same
            start as the codes.
        embedding: Speaker embedding, float32 `[speaker_width]`; scaled to unit length.
    """

    codes: NDArray[np.int64] | None = None
    mel: NDArray[np.float32] | None = None
    embedding: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if (self.codes is None) != (self.mel is None):
            raise InputError("A voice prompt needs both codes and mel, or neither.")
        if self.codes is not None and self.mel is not None:
            if self.codes.ndim != 1 or not len(self.codes):
                raise InputError("The codes of a voice prompt are one list, and not empty.")
            if self.mel.ndim != self.codes.ndim + 1 or not self.mel.shape[1]:
                raise InputError("The mel of a voice prompt is [mels, frames], and not empty.")
        for name, values in (("mel", self.mel), ("speaker embedding", self.embedding)):
            if values is not None and not np.isfinite(values).all():
                raise InputError(f"The {name} of the voice holds values that are not finite.")
