"""What the tests of the voice library share: recordings, consents, libraries."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from speech.pcm import Audio
from voices.consent import Consent
from voices.library import Library
from voices.record import Record, content_hash, encode

ROOT = Path(__file__).parent.parent


def recording(seed: int = 0, seconds: float = 4.0, rate: int = 16_000) -> Audio:
    """Something that is no silence; each seed another."""
    samples = np.random.default_rng(seed).normal(0, 0.1, round(seconds * rate))
    return Audio(np.clip(samples, -1, 1).astype(np.float32), rate)


def consent_for(audio: Audio, by: str = "anna") -> Consent:
    return Consent(
        given="2026-11-20T12:00:00+00:00",
        sentence="I lend my voice to Parley.",
        heard="i lend my voice to parley",
        match=1.0,
        similarity=0.8,
        by=by,
        voice=content_hash(audio),
        version="0.1.0",
    )


def record_of(audio: Audio, name: str = "Anna", **values) -> Record:
    return Record(
        **{
            "name": name,
            "origin": "synthetic",
            "created": "2026-11-20T12:00:00+00:00",
            "sha256": content_hash(audio),
            "seconds": audio.seconds,
            "rate": audio.rate,
        }
        | values
    )


def shipped_in(folder: Path) -> Path:
    """A folder of shipped voices with one voice in it."""
    audio = recording(1000)
    target = folder / "rowan"
    target.mkdir(parents=True)
    (target / "audio.flac").write_bytes(encode(audio))
    record = record_of(audio, "Rowan", origin="shipped", transcript="Hello from the house.")
    (target / "voice.json").write_bytes(record.to_json())
    return folder


def library_in(folder: Path, **options) -> Library:
    """A library with one shipped voice; several for one folder are several processes."""
    shipped = folder / "shipped"
    if not shipped.exists():
        shipped_in(shipped)
    return Library(folder / "library", shipped, **options)


def add_human(library: Library, name: str, audio: Audio, **values):
    return library.add(name, audio, origin="recording", consent=consent_for(audio), **values)


def files_in(folder: Path) -> set[str]:
    """Every file below a folder but the lock."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return found - {".lock"}


@pytest.fixture(name="small_disk")
def small_disk_fixture(tmp_path):
    """A real file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
