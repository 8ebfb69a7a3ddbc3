"""Runs a change of a library again and again, killed one step later each time.

Called as a program: FOLDER OPERATION. FOLDER/before is a library; each run works on a
copy, kills itself in the middle of the change at the next call that touches the disk,
and prints what a new process then finds, as a JSON line. The last line is of a run that
came to its end.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from voice_tools import add_human, files_in, library_in, recording

from voices.archive import import_voices

CALLS = ("fsync", "rename", "replace", "unlink", "rmdir", "mkdir", "open")

OPERATIONS = {
    "add": lambda library, folder: add_human(library, "Anna", recording(1)),
    "rename": lambda library, folder: library.rename("Old", "New"),
    "delete": lambda library, folder: library.delete("Old"),
    "import": lambda library, folder: import_voices(library, folder / "three.parleyvoices"),
    "feature": lambda library, folder: library.get("Old").keep("timbre-2", lambda: b"second"),
}


def die_at(step: int) -> None:
    """Kill this process at a call to the disk: the step-th from now."""
    left = [step]

    def counted(function):
        def call(*args, **kwargs):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))


def found(folder: Path) -> dict[str, object]:
    """What is in the library for a process that opens it now, and after a next change."""
    library = library_in(folder)
    voices = {voice.name: library.get(voice.name).transcript for voice in library.voices()}
    kept = library.get("Rowan").keep("timbre-1", lambda: b"again").decode()
    library.delete(add_human(library, "Next", recording(50)).name)
    return {
        "voices": voices,
        "later": [voice.name for voice in library.voices()],
        "problems": library.problems(),
        "kept": kept,
        "files": sorted(files_in(library.folder)),
    }


def main(folder: Path, operation: str) -> None:
    """Run the operation until it is through."""
    for step in range(1, 1000):
        work = folder / f"run-{step}"
        shutil.copytree(folder / "before", work)
        child = os.fork()
        if not child:
            library = library_in(work)
            die_at(step)
            OPERATIONS[operation](library, folder)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(json.dumps(found(work)) + "\n")
        if not os.WIFSIGNALED(status):
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
