"""AudioSeal: a watermark one does not hear, where its weights are present.

Source: https://github.com/facebookresearch/audioseal (MIT, the weights too), San Roman et
al., "Proactive Detection of Voice Cloning with Localized Watermarking", ICML 2024. It is
optional: `requirements-watermark.txt`, and the two files of the weights, which are put
into a folder by hand: https://huggingface.co/facebook/audioseal.
"""

import importlib.util
import math
import os
import pickle
import threading
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from errors import UnavailableError
from speech.pcm import Audio

#: What the models hear, Hz.
RATE = 16_000
#: Detected share of a stretch from which on it counts as watermarked; AudioSeal's own.
DETECTED = 0.5
GENERATOR = "generator_base.pth"
DETECTOR = "detector_base.pth"

#: What the watermark says, 16 bits: the letters "Pa".
MESSAGE = 0x5061
#: Longer speech goes through the models in stretches, seconds: they need 1 MB a 10 ms.
_STRETCH = 20.0
#: Over which the watermarks of two stretches are blended, seconds.
_BLEND = 0.1
#: Cards of the package with the sizes of the layers.
_CARDS = {GENERATOR: "audioseal_wm_16bits", DETECTOR: "audioseal_detector_16bits"}
_PACKAGES = ("torch", "omegaconf", "audioseal")


class Watermark:
    """Puts a watermark into speech and finds it again; threads may share it.

    Nothing is imported or read before it is needed.

    Args:
        folder: Where the files of the weights are, or are not.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._models: dict[str, Any] = {}

    @property
    def missing(self) -> str:
        """What is needed and is not there, for people; empty where all is."""
        lacking = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
        if lacking:
            return (
                f"There is no watermark: {', '.join(lacking)} is not installed"
                " (pip install -r requirements-watermark.txt)."
            )
        absent = [name for name in _CARDS if not (self.folder / name).is_file()]
        if absent:
            return (
                f"There is no watermark: {' and '.join(absent)} of facebook/audioseal"
                f" (Hugging Face) must be put into {self.folder}."
            )
        return ""

    @property
    def present(self) -> bool:
        """Whether speech can be watermarked here."""
        return not self.missing

    def embed(self, audio: Audio) -> Audio:
        """Speech with the watermark; same rate and length.

        Raises:
            UnavailableError: If packages or weights are missing or cannot be used.
        """
        if not len(audio):
            return audio
        model, message = self._model(GENERATOR), _message()
        heard = audio.resampled(RATE).samples
        mark = np.zeros_like(heard)
        blend = round(_BLEND * RATE)
        for start, stretch in _stretches(heard, blend):
            part = self._run(lambda x: model.get_watermark(x, RATE, message), stretch)[0]
            if start:
                rise = np.linspace(0, 1, min(blend, len(part)), dtype=np.float32)
                part[: len(rise)] *= rise
                mark[start : start + len(rise)] *= 1 - rise
            mark[start : start + len(part)] += part
        added = Audio(mark, RATE).resampled(audio.rate).samples[: len(audio)]
        samples = audio.samples.copy()
        samples[: len(added)] += added
        return Audio(samples, audio.rate)

    def detect(self, audio: Audio) -> float | None:
        """Share of the speech that carries the watermark, 0 to 1, in its most marked stretch.

        Returns:
            None where there is no detector: then `missing` says why.

        Raises:
            UnavailableError: If the weights are there and cannot be used.
        """
        if self.missing or not len(audio):
            return None
        model = self._model(DETECTOR)
        heard = audio.resampled(RATE).samples
        return max(
            float((self._run(lambda x: model(x, RATE)[0], stretch)[1] > DETECTED).mean())
            for _, stretch in _stretches(heard, 0)
        )

    @staticmethod
    def _run(model: Any, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        import torch  # noqa: PLC0415

        with torch.inference_mode():
            result = model(torch.from_numpy(samples.copy())[None, None])
        array: NDArray[np.float32] = result[0].numpy()
        return array

    def _model(self, file: str) -> Any:
        if self.missing:
            raise UnavailableError(self.missing)
        with self._lock:
            if file not in self._models:
                self._models[file] = _load(self.folder / file, _CARDS[file])
            return self._models[file]


def _load(path: Path, card: str) -> Any:
    """The model of a checkpoint.

    Built by the package from its own card, while the file is read here: the package
    would unpickle whatever is in it.
    """
    # Compiling takes half a minute, and a compiler that few machines have.
    os.environ.setdefault("NO_TORCH_COMPILE", "1")
    import torch  # noqa: PLC0415
    from audioseal import builder, loader  # noqa: PLC0415
    from omegaconf import OmegaConf  # noqa: PLC0415

    text = (files("audioseal") / "cards" / f"{card}.yaml").read_text()
    values = OmegaConf.to_container(OmegaConf.create(text))
    generates = path.name == GENERATOR
    config = loader.AudioSeal.parse_config(
        values, builder.AudioSealWMConfig if generates else builder.AudioSealDetectorConfig
    )
    model = (builder.create_generator if generates else builder.create_detector)(config)
    try:
        with torch.serialization.safe_globals(_config_types()):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        state = loader.convert_state_dict_for_scriptable_model(checkpoint.get("model", checkpoint))
        # The package's own loader overlooks weights that are missing or left over.
        wanted = {part for name in model.state_dict() for part in _parts(name, state)}
        if set(state) != wanted:
            raise ValueError("it has other weights than the model")
        loader.load_state_dict(model, state)
    except (
        *(OSError, EOFError, ValueError, KeyError, RuntimeError, AttributeError),
        pickle.UnpicklingError,
    ) as error:
        raise UnavailableError(
            f"{path} is not the file that AudioSeal needs."
            " Fetch it again from facebook/audioseal on Hugging Face."
        ) from error
    return model.eval()


def _parts(name: str, state: Mapping[str, Any]) -> tuple[str, ...]:
    """Under which names a weight is stored: its length and direction may be apart (weight norm)."""
    stem = f"{name.removesuffix('weight')}parametrizations.weight.original"
    for pair in ((f"{name}_g", f"{name}_v"), (f"{stem}0", f"{stem}1")):
        if any(part in state for part in pair):
            return pair
    return (name,)


def _message() -> Any:
    """The 16 bits that our watermarks carry, as AudioSeal takes them: `[1, 16]`."""
    import torch  # noqa: PLC0415

    return torch.tensor([[MESSAGE >> bit & 1 for bit in reversed(range(16))]])


def _config_types() -> list[Any]:
    """The classes of plain settings that AudioSeal's checkpoints carry beside the weights."""
    from collections import defaultdict  # noqa: PLC0415

    from omegaconf import DictConfig, ListConfig  # noqa: PLC0415
    from omegaconf.base import ContainerMetadata, Metadata  # noqa: PLC0415
    from omegaconf.nodes import AnyNode  # noqa: PLC0415

    plain = [Any, defaultdict, dict, int, list]
    return [*plain, AnyNode, ContainerMetadata, DictConfig, ListConfig, Metadata]


def _stretches(
    samples: NDArray[np.float32], overlap: int
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Pieces of one length and where they begin; neighbours overlap by so many samples."""
    count = math.ceil(len(samples) / (_STRETCH * RATE))
    step = math.ceil(len(samples) / count)
    for start in range(0, len(samples), step):
        yield start, samples[start : start + step + overlap]
