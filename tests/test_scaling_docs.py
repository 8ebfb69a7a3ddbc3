"""What docs/scaling.md tells people to type is what there is."""

import os
import re
import shlex

import pytest
from conftest import ROOT
from test_readme import blocks

from engines.catalog import entries
from engines.remote import config
from services import Services
from settings import Settings

TEXT = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Settings of the environment that are secrets, and so no options.
SECRETS = {"PARLEY_CHAT_KEY", "PARLEY_VITA_KEY", "PARLEY_VITA15_KEY"}


def tables():
    """Every engines.toml of the documents, with its document."""
    return [(path.name, text) for path in DOCS for text in blocks(path.read_text(), "toml")]


def set_up(tmp_path, text):
    path = tmp_path / "engines.toml"
    path.write_text(text, encoding="utf-8")
    return Settings(_env_file=None, port=0, warm=False, data=tmp_path, engines=path)


def test_there_are_tables():
    assert "scaling.md" in dict(tables())


@pytest.mark.parametrize(("document", "text"), tables(), ids=lambda given: given[:20])
def test_an_engines_file_of_the_documents_makes_engines(document, text, tmp_path, monkeypatch):
    """Unknown fields are refused when it is read; here it is also made into engines."""
    settings = set_up(tmp_path, text)
    described = config.engines(settings)
    assert described
    for key in re.findall(r'key_env = "(\w+)"', text):
        monkeypatch.setenv(key, "sk-from-the-environment")
    names = [entry.info.name for entry in entries(settings)]
    with Services(settings, entries(settings)) as services:
        for engine in described:
            assert engine.name in names
            info = services.engine(engine.name).info
            assert info.title == engine.called
            assert info.tasks


def test_the_engines_of_the_scaling_page_are_as_they_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("QWEN_API_KEY", "sk-from-the-environment")
    (text,) = blocks(TEXT, "toml")
    qwen, other = config.engines(set_up(tmp_path, text))
    assert qwen.chat.remote.urls == ("http://gpu1:8000/v1", "http://gpu2:8000/v1")
    assert qwen.chat.remote.key == "sk-from-the-environment"
    assert qwen.recognizer.model and qwen.synthesizer.clones
    assert other.realtime is not None


def test_options_and_variables_are_those_of_the_settings():
    """Every `--option` of Parley's own commands, and every PARLEY_ variable, in all documents."""
    known = {f"--{name.replace('_', '-')}" for name in Settings.model_fields}
    variables = {f"PARLEY_{name.upper()}" for name in Settings.model_fields} | SECRETS
    variables |= {"PARLEY_GOLDEN"}  # Of the tests.
    for path in DOCS:
        text = path.read_text(encoding="utf-8")
        for arguments in re.findall(r'make run ARGS="([^"]*)"', text):
            for option in re.findall(r"--[\w-]+", arguments):
                assert option in known, f"{path.name}: {option}"
        for name in re.findall(r"\bPARLEY_[A-Z_]+\b", text):
            assert name in variables, f"{path.name}: {name}"
    (limits,) = re.findall(r"`(--max-active [^`]*)`", TEXT)
    for option in re.findall(r"--[\w-]+", limits):
        assert option in known


def test_commands_can_be_parsed_and_their_files_exist():
    commands = [line for body in blocks(TEXT, "sh") for line in body.splitlines()]
    assert len(commands) >= 5
    for command in commands:
        for word in shlex.split(command):
            if word.startswith("requirements"):
                assert (ROOT / word).exists(), word


def test_files_of_the_table_exist():
    (table,) = re.findall(r"## What is where\n(.*)", TEXT, re.DOTALL)
    folder = ""
    names = re.findall(r"`([\w/]+\.py)`", table)
    assert len(names) > 5
    for name in names:
        folder = os.path.dirname(name) or folder  # noqa: PTH120  (a part of a text)
        assert (ROOT / folder / os.path.basename(name)).exists(), name  # noqa: PTH119
