"""The speech head: loaded once, shared by all replies."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from codec.checkpoint import CheckpointError
from engines.base import Cancel
from engines.vita.speech.codec import Codec
from engines.vita.speech.decoder import TokenDecoder
from engines.vita.speech.stream import Options, SpeechStream, Weights

Encode = Callable[[str], list[int]]
"""Text to ids of the language model's tokenizer, without special tokens."""


class SpeechHead:
    """Text to speech with the voice of VITA-1.5; keeps nothing of a reply.

        head = SpeechHead.load(folder / "vita_tts_ckpt", embedding, encode)
        stream = head.open(seed=1, cancel=cancel)
        for text in reply:
            for audio, words in stream.push(text):
                play(audio)
        for audio, words in stream.finish():
            play(audio)

    Args:
        decoder: Writes codes.
        codec: Makes sound of them.
        embedding: Rows of the language model's table of input embeddings, `[tokens, hidden]`.
        encode: Its tokenizer.

    Raises:
        CheckpointError: If parts do not fit each other.
    """

    def __init__(
        self, decoder: TokenDecoder, codec: Codec, embedding: Tensor, encode: Encode
    ) -> None:
        width = decoder.config.width
        if embedding.dim() != 2 or embedding.shape[1] % width:  # noqa: PLR2004
            raise CheckpointError(
                f"The voice takes text embeddings in pieces of {width} numbers; those of the "
                f"language model, {list(embedding.shape)}, cannot be cut into such pieces."
            )
        if decoder.config.codes > codec.config.codes:
            raise CheckpointError(
                f"The voice writes {decoder.config.codes} codes, and its codec knows only "
                f"{codec.config.codes}. Do decoder and codec belong together?"
            )
        self.decoder = decoder
        self.codec = codec
        self._embedding = embedding
        self._encode = encode

    @staticmethod
    def load(
        folder: Path,
        embedding: Tensor,
        encode: Encode,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> "SpeechHead":
        """Load the folder `vita_tts_ckpt` of a snapshot.

        Args:
            folder: With `decoder` and `codec`, a model.json and a final.pt each.
            embedding: See the class. It is shared, not copied.
            encode: See the class.
            device: Where to.
            dtype: Of the decoder; the codec always is float32.

        Raises:
            CheckpointError: If a file is absent, damaged, or not the one it should be.
        """
        for part in ("decoder", "codec"):
            if not (folder / part).is_dir():
                raise CheckpointError(
                    f"{folder / part} is not there. Fetch the whole repository, with its folder "
                    f"{folder.name}."
                )
        decoder = TokenDecoder.load(folder / "decoder", device=device, dtype=dtype)
        return SpeechHead(decoder, Codec.load(folder / "codec", device=device), embedding, encode)

    def open(self, seed: int | None, cancel: Cancel, options: Options = Options()) -> SpeechStream:
        """Begin a reply.

        Args:
            seed: Fixes what is random; None takes a fresh one.
            cancel: Stops it within one step.
            options: How it is spoken.
        """
        return SpeechStream(
            Weights(self.decoder, self.codec, self._text_rows), seed, cancel, options
        )

    def rows(self, ids: list[int]) -> Tensor:
        """Rows of the decoder for tokens of the language model.

        Each token's embedding becomes several rows, cut in order: 3584 numbers are 4 of 896.

        Args:
            ids: Of the text, without special tokens.

        Returns:
            `[n, width]` in the decoder's precision.
        """
        index = torch.tensor(ids, dtype=torch.int64, device=self._embedding.device)
        with torch.inference_mode():
            chosen = self._embedding[index].reshape(-1, self.decoder.config.width)
            return chosen.to(device=self.decoder.device, dtype=self.decoder.dtype)

    def _text_rows(self, text: str) -> Tensor:
        return self.rows(self._encode(text))
