"""What the documents promise, tried."""

import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT

from engines.base import Cancel
from engines.catalog import CATALOG
from engines.messages import AudioChunk, Conversation, Turn
from services import Services
from settings import Settings

README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(text, language):
    return [body for name, body in BLOCK.findall(text) if name == language]


@pytest.fixture
def clone(tmp_path):
    """The repository as seen from a clone; what the examples write stays in it."""
    for entry in ROOT.iterdir():
        if not entry.name.startswith("."):
            (tmp_path / entry.name).symlink_to(entry)
    return tmp_path


def test_python_examples_run(page_url, clone, monkeypatch, capsys):
    monkeypatch.chdir(clone)
    names = {}
    for example in blocks(README, "python"):
        exec(example.replace("http://127.0.0.1:7860", page_url.rstrip("/")), names)
    assert capsys.readouterr().out.strip(), "the realtime example prints the answer"
    assert names["text"] == "Why is the sky blue?"
    assert names["question"] == "Why is the sky blue?"
    assert len(names["answer"]) > 10


def test_command_line_examples_run(clone):
    (example,) = blocks(README, "sh")
    commands = example.strip().splitlines()
    assert len(commands) == 5
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"  # noqa: PTH120
    for command in commands:
        result = subprocess.run(
            command,
            shell=True,
            cwd=clone,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env={**os.environ, "PATH": path},
        )
        assert result.returncode == 0, f"{command}\n{result.stderr}"
    assert (clone / "morning.wav").stat().st_size > 10_000
    assert (clone / "reply.wav").stat().st_size > 10_000
    assert (clone / "matched.wav").stat().st_size > 10_000
    assert (clone / "spoken.zip").stat().st_size > 10_000


def test_commands_of_the_readme_are_targets():
    makefile = (ROOT / "Makefile").read_text()
    for target in {a or b for a, b in re.findall(r"^make (\w+)|`make (\w+)", README, re.MULTILINE)}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_files_and_pictures_exist():
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_layout_is_true():
    (layout,) = [b for b in blocks(README, "") if "services.py" in b]
    for name in re.findall(r"^(\S+)  +\S", layout, re.MULTILINE):
        assert (ROOT / name).exists(), name


def test_every_engine_is_in_the_table():
    for entry in CATALOG:
        assert f"| `{entry.info.name}` |" in README


def test_every_dependency_is_explained():
    table = README[README.index("### Libraries") : README.index("`requirements-gpu.txt`")]
    requirements = (ROOT / "requirements.txt").read_text()
    for name in re.findall(r"^([\w-]+)", requirements, re.MULTILINE):
        assert re.search(rf"\b{name}\b", table), name


def test_the_example_engine_works(question):
    """The engine of docs/adding-an-engine.md, run through the services."""
    (code,) = blocks((ROOT / "docs" / "adding-an-engine.md").read_text(), "python")
    names = {}
    exec(code, names)
    settings = Settings(_env_file=None, engine="parrot")
    with Services(settings, [names["ENTRY"]]) as services:
        events = list(services.converse(Turn(question), Conversation(), cancel=Cancel()))
    said = sum(e.audio.seconds for e in events if isinstance(e, AudioChunk))
    assert said == pytest.approx(question.seconds)
