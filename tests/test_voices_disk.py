"""The library when processes are killed, work at once, or the disk says no."""

import json
import random
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from voice_tools import (
    ROOT,
    add_human,
    files_in,
    library_in,
    recording,
    small_disk_fixture,  # noqa: F401  (a fixture)
)

from errors import UnavailableError
from voices.archive import export_voices, import_voices


def child(script: str, *arguments, **options) -> subprocess.Popen:
    """Another process that has the tools of these tests."""
    setup = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]\n"
    return subprocess.Popen(
        [sys.executable, "-c", setup + textwrap.dedent(script), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def output_of(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return output


@pytest.fixture(name="before")
def before_fixture(tmp_path):
    """A library with an old voice, and an export of three, for `voice_crashes`."""
    before = tmp_path / "before"
    library = library_in(before)
    add_human(library, "Old", recording(), transcript="old")
    library.get("Old").keep("timbre-1", lambda: b"first")
    library.get("Rowan").keep("timbre-1", lambda: b"of Rowan")
    source = library_in(tmp_path / "source")
    for number in range(3):
        add_human(source, f"Voice {number}", recording(10 + number))
    names = [f"Voice {number}" for number in range(3)]
    export_voices(source, names, tmp_path / "three.parleyvoices")
    return before


@pytest.mark.parametrize(
    ("operation", "after", "fewest"),
    [
        ("add", {"Rowan", "Old", "Anna"}, 8),
        ("rename", {"Rowan", "New"}, 5),
        ("delete", {"Rowan"}, 6),
        ("import", {"Rowan", "Old", "Voice 0", "Voice 1", "Voice 2"}, 20),
        ("feature", {"Rowan", "Old"}, 5),
    ],
)
def test_killed_at_every_step(tmp_path, before, operation, after, fewest):
    """A change is killed at each call that touches the disk: it was done, or it was not."""
    script = Path(__file__).parent / "voice_crashes.py"
    result = subprocess.run(
        [sys.executable, script, tmp_path, operation], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    runs = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(runs) >= fewest, "the change has this many steps to be killed at"
    seen = set()
    for step, run in enumerate(runs, 1):
        names = frozenset(run["voices"])
        assert names in ({"Rowan", "Old"}, after), (step, run)
        assert set(run["later"]) == names, (step, run)
        assert run["problems"] == [] and run["kept"] == "of Rowan", (step, run)
        # Nothing lies around once somebody has changed something.
        voices = [name for name in run["files"] if name.startswith("voices/")]
        assert len(voices) == 2 * (len(names) - 1), (step, run)
        rest = set(run["files"]) - set(voices)
        assert all(name.startswith("features/") for name in rest), (step, run)
        seen.add(names)
    assert frozenset(runs[-1]["voices"]) == after
    assert operation == "feature" or len(seen) == 2


def test_killed_at_any_moment(tmp_path, before):
    script = """
        import pathlib, sys
        from voice_tools import add_human, library_in, recording
        from voices.archive import import_voices
        folder = pathlib.Path(sys.argv[1])
        library = library_in(folder / "before")
        print("ready", flush=True)
        while True:
            library.delete(add_human(library, "Anna", recording(1)).name)
            for voice in import_voices(library, folder / "three.parleyvoices").voices:
                library.delete(voice.name)
            library.rename("Old", "Older")
            library.rename("Older", "Old")
    """
    draw = random.Random(4)
    library = library_in(before)
    for _ in range(6):
        process = child(script, tmp_path)
        assert process.stdout.readline() == "ready\n"
        time.sleep(draw.uniform(0, 0.2))
        process.kill()
        process.communicate()
        for voice in library.voices():
            assert len(library.get(voice.name).audio) == 64_000
            if not voice.shipped and voice.name not in {"Old", "Older"}:
                library.delete(voice.name)
        assert library.problems() == () and len(library.voices()) == 2
        if library.voices()[1].name == "Older":
            library.rename("Older", "Old")
    add_human(library, "Last", recording(2))
    assert len(files_in(library.folder)) == 4 + 2


def test_processes_at_once(tmp_path):
    script = """
        import pathlib, sys
        from errors import InputError
        from voice_tools import add_human, library_in, recording
        library = library_in(pathlib.Path(sys.argv[1]))
        print("ready", flush=True)
        sys.stdin.readline()
        won = 0
        for number in range(12):
            try:
                add_human(library, f"Voice {number}", recording(number))
                won += 1
            except InputError as error:
                assert "already" in str(error), error
        print(won)
    """
    library = library_in(tmp_path)
    workers = [child(script, tmp_path, stdin=subprocess.PIPE) for _ in range(3)]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    won = [int(output_of(worker)) for worker in workers]
    assert sum(won) == 12, "each name went to one of them"
    assert len(library.voices()) == 13 and library.problems() == ()


def test_a_lock_that_is_held_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("voices.shelf.LOCK_TIMEOUT", 0.1)
    library = library_in(tmp_path)
    add_human(library, "Anna", recording())
    script = """
        import pathlib, sys
        from filelock import FileLock
        with FileLock(pathlib.Path(sys.argv[1])):
            print("held", flush=True)
            sys.stdin.readline()
    """
    holder = child(script, library.folder / ".lock", stdin=subprocess.PIPE)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UnavailableError, match="not deleted: another process is changing"):
        library.delete("Anna")
    assert library.get("Anna"), "reading needs no lock"
    holder.communicate("\n")
    library.delete("Anna")


def test_full_disk(small_disk, tmp_path):
    """Voices are stored on a real disk until it is full: the last one is not, the others are."""
    library = library_in(small_disk)
    stored = 0
    with pytest.raises(UnavailableError, match=r"Nothing was stored: the disk of .* is full"):
        for stored in range(20):
            add_human(library, f"Voice {stored}", recording(stored))
    assert 2 < stored < 10
    whole = [f"Voice {number}" for number in range(stored)]
    assert [voice.name for voice in library.voices()] == ["Rowan", *whole]
    for name in whole:
        assert len(library.get(name).audio) == 64_000
    # Not a byte of the one that failed is left.
    assert len(files_in(library.folder)) == 2 * stored
    three = tmp_path / "three.parleyvoices"
    export_voices(library, whole[:3], three)
    with pytest.raises(UnavailableError, match="full"):
        import_voices(library, three)
    assert len(library.voices()) == stored + 1
    # A feature that finds no room is computed each time.
    assert library.get(whole[0]).keep("large", lambda: bytes(900_000)) == bytes(900_000)
    library.delete(whole[-1])
    add_human(library, "Room again", recording(99))


def test_rename_on_a_full_disk(small_disk):
    library = library_in(small_disk)
    add_human(library, "Anna", recording())
    with (small_disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError):
        while True:
            filler.write(bytes(4096))
    with pytest.raises(UnavailableError, match=r"not renamed: the disk of .* is full"):
        library.rename("Anna", "Berta")
    assert library.get("Anna").name == "Anna"
    library.delete("Anna")


@pytest.mark.parametrize("limit", [0, 100, 10_000, 100_000])
def test_file_size_limit(tmp_path, limit):
    """The limit of a process on its files stops the writing somewhere in a file."""
    script = """
        import pathlib, sys
        from errors import UnavailableError
        from voice_tools import add_human, files_in, library_in, recording
        library = library_in(pathlib.Path(sys.argv[1]))
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
        try:
            add_human(library, "Anna", recording())
        except UnavailableError as error:
            print(error)
        print(sorted(files_in(library.folder)))
    """
    library_in(tmp_path)
    output = output_of(child(script, tmp_path, limit))
    assert "Nothing was stored: the disk of" in output and output.endswith("[]\n")


def test_folder_that_may_not_be_written(tmp_path):
    library = library_in(tmp_path)
    add_human(library, "Anna", recording())
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    script = """
        import os, pathlib, sys
        from errors import UnavailableError
        from voice_tools import add_human, library_in, recording
        os.chdir(sys.argv[1])
        library = library_in(pathlib.Path())
        library.get("Anna")
        if not os.getuid():
            # Root may do everything; below the working directory, nobody needs no more.
            os.setgroups([]), os.setgid(65534), os.setuid(65534)
        changes = [
            lambda: add_human(library, "Berta", recording(1)),
            lambda: library.rename("Anna", "Berta"),
            lambda: library.delete("Anna"),
        ]
        for change in changes:
            try:
                change()
            except UnavailableError as error:
                print(error)
        voice = library.get("Anna")
        print(len(voice.audio), voice.keep("timbre-1", lambda: b"computed"))
    """
    before = files_in(tmp_path)
    lines = output_of(child(script, tmp_path)).splitlines()
    told = [line for line in lines if "Parley may not write to" in line]
    assert [line.split(":")[0] for line in told] == [
        "Nothing was stored",
        "The voice was not renamed",
        "The voice was not deleted",
        "A feature was not kept",  # In the log; it was computed all the same.
    ]
    assert lines[-1] == "64000 b'computed'"
    assert files_in(tmp_path) == before
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755)


def test_file_where_the_folder_should_be(tmp_path):
    library = library_in(tmp_path)
    library.folder.write_text("mine")
    with pytest.raises(UnavailableError, match="is not a folder"):
        add_human(library, "Anna", recording())
    assert [voice.name for voice in library.voices()] == ["Rowan"]
    assert library.folder.read_text() == "mine"
