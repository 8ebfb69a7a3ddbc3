"""The command line, run as a user runs it."""

import json
import os
import subprocess
import sys
import zipfile

import pytest
import soundfile
from conftest import ROOT, SAMPLES

import app
from voices.marks import read_mark


def run(*arguments, **environment):
    """`python app.py ...` in a process of its own."""
    return subprocess.run(
        [sys.executable, ROOT / "app.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **environment},
    )


def test_help_lists_the_options():
    result = run("--help")
    assert result.returncode == 0
    for option in (
        "--host", "--port", "--share", "--engine", "--device", "--chat-model", "--threads",
        "--offline", "--data", "--auth", "--max-upload", "--max-audio", "--max-text",
        "--max-queue", "--max-sessions", "transcribe", "speak", "ask", "clone",
        "batch",
    ):  # fmt: skip
        assert option in result.stdout, option


def test_transcribe_many_files(tmp_path):
    result = run("transcribe", SAMPLES / "sky.wav", SAMPLES / "bees.wav", "-o", tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "sky.txt").read_text() == "Why is the sky blue?\n"
    assert "honey" in (tmp_path / "bees.txt").read_text()


def test_a_bad_file_is_told_and_the_others_are_done(tmp_path):
    fake = tmp_path / "fake.wav"
    fake.write_text("no sound")
    result = run("transcribe", fake, tmp_path / "absent.wav", SAMPLES / "sky.wav")
    assert result.returncode == 1
    assert "Why is the sky blue?" in result.stdout
    assert "fake.wav" in result.stderr and "absent.wav" in result.stderr
    assert "Traceback" not in result.stderr


def test_speak(tmp_path):
    output = tmp_path / "folder" / "out.wav"
    result = run("speak", "Good morning.", "-o", output, "--seed", 3)
    assert result.returncode == 0, result.stderr
    assert soundfile.info(output).samplerate == 24_000


def test_speak_from_a_file(tmp_path):
    (tmp_path / "text.txt").write_text("One sentence. Another sentence.")
    result = run("speak", f"@{tmp_path / 'text.txt'}", "-o", tmp_path / "out.wav")
    assert result.returncode == 0, result.stderr
    assert soundfile.info(tmp_path / "out.wav").duration > 1


def test_ask(tmp_path):
    result = run("ask", SAMPLES / "sky.wav", "-o", tmp_path / "reply.wav")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Q: Why is the sky blue?\nA: ")
    assert soundfile.info(tmp_path / "reply.wav").duration > 0.5


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--port", "x"], 2, "port"),
        (["--auth", "nobody", "speak", "x"], 2, "user:password"),
        (["--engine", "nothing", "speak", "x"], 1, "embedded"),
        (["--chat-model", "/absent.gguf", "speak", "x"], 1, "/absent.gguf"),
        (["speak", "😀"], 1, "nothing in this text"),
        (["speak", "@/absent.txt"], 1, "/absent.txt"),
        (["ask", "/"], 1, "folder"),
    ],
)
def test_what_is_wrong_is_told(arguments, status, message):
    result = run(*arguments)
    assert result.returncode == status
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_offline_says_what_is_missing(tmp_path):
    result = run("--offline", "--data", tmp_path, "ask", SAMPLES / "sky.wav")
    assert result.returncode == 1
    assert "smollm2" in result.stderr.lower()
    assert str(tmp_path) in result.stderr


def test_environment_and_command_line(monkeypatch):
    monkeypatch.setenv("PARLEY_PORT", "1234")
    monkeypatch.setenv("PARLEY_HOST", "127.0.0.9")
    settings = app.CliApp.run(app.Parley, cli_args=["--port", "4321"])
    assert (settings.port, settings.host) == (4321, "127.0.0.9")


def test_clone_speaks_each_text_in_each_voice(tmp_path):
    story = SAMPLES / "story.wav"
    result = run(
        "clone", "Good morning.", "Good night.", "--reference", story, "--reference", "Rowan",
        "-o", tmp_path, "--seed", 1,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["Rowan-2.wav", "Rowan-3.wav", "story-0.wav", "story-1.wav"]
    voices = [read_mark(tmp_path / name).voice for name in files]
    assert voices == ["Rowan", "Rowan", "story.wav", "story.wav"]


def test_clone_without_a_usable_reference(tmp_path):
    absent = run("clone", "Hello.", "--reference", tmp_path / "absent.wav")
    assert absent.returncode == 1
    assert "no file" in absent.stderr
    unknown = run("clone", "Hello.", "--reference", "Nobody", "-o", tmp_path / "out.wav")
    assert "no voice 'Nobody'" in unknown.stderr
    assert not list(tmp_path.iterdir())


def test_batch_is_done_once(tmp_path):
    jobs = tmp_path / "jobs.jsonl"
    lines = [
        {"text": "Good morning.", "voice": "Rowan", "name": "morning"},
        {"text": "Good night.", "voice": str(SAMPLES / "story.wav"), "seed": 3, "name": "night"},
        {"text": "Hello.", "voice": "Nobody", "name": "nobody"},
    ]
    jobs.write_text("\n".join(map(json.dumps, lines)))
    first = run("batch", jobs)
    assert first.returncode == 1
    assert "line 3: There is no voice 'Nobody'" in first.stderr
    outcomes = [json.loads(line) for line in (tmp_path / "jobs" / "manifest.jsonl").open()]
    assert [outcome["status"] for outcome in outcomes] == ["done", "done", "failed"]
    assert outcomes[0]["similarity"] > 0.3
    made = (tmp_path / "jobs" / "morning.wav").stat().st_mtime_ns
    with zipfile.ZipFile(tmp_path / "jobs.zip") as archive:
        assert {"manifest.jsonl", "morning.wav", "night.wav"} == set(archive.namelist())
    run("batch", jobs)
    assert (tmp_path / "jobs" / "morning.wav").stat().st_mtime_ns == made


def test_a_list_of_jobs_that_is_none(tmp_path):
    jobs = tmp_path / "jobs.csv"
    jobs.write_text("texts,voices\nHello.,Rowan\n")
    result = run("batch", jobs)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "jobs").exists()
