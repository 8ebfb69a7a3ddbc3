"""The command line, run as a user runs it."""

import os
import subprocess
import sys

import pytest
import soundfile
from conftest import ROOT, SAMPLES

import app


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
        "--max-queue", "--max-sessions", "transcribe", "speak", "ask",
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
