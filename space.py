"""Writes a profile of space.yaml where Hugging Face reads it: `python space.py cpu`."""

import argparse
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent
#: Front matter: the lines between two of three dashes at the top of README.md.
FRONT_MATTER = re.compile(r"\A---\n.*?^---\n", re.DOTALL | re.MULTILINE)
GRADIO_PIN = re.compile(r"^gradio==(\S+)$", re.MULTILINE)


def read_profiles(root: Path = ROOT) -> dict[str, Any]:
    """The content of space.yaml."""
    content: dict[str, Any] = yaml.safe_load((root / "space.yaml").read_text())
    return content


def front_matter(name: str, root: Path = ROOT) -> str:
    """What the Hub is told of a profile, as the YAML block at the top of README.md.

    Raises:
        KeyError: If there is no such profile.
    """
    content = read_profiles(root)
    profile = content["profiles"][name]
    pin = GRADIO_PIN.search((root / "requirements.txt").read_text())
    assert pin is not None, "requirements.txt pins gradio"
    fields = {**content["common"], "sdk_version": pin[1], **profile}
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}---\n"


def write(name: str, root: Path = ROOT) -> None:
    """Put a profile into README.md and packages.txt."""
    readme = root / "README.md"
    text = readme.read_text()
    readme.write_text(front_matter(name, root) + FRONT_MATTER.sub("", text))
    packages = read_profiles(root)["packages"]
    (root / "packages.txt").write_text("".join(f"{package}\n" for package in packages))


def main() -> None:
    """Write the profile named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("profile", choices=sorted(read_profiles()["profiles"]))
    write(parser.parse_args().profile)


if __name__ == "__main__":
    main()
