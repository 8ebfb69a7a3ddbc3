"""Tests of what the app does with packages that not everybody has."""

import importlib.util
import os

import pytest


def needs(file: str, *packages: str) -> pytest.MarkDecorator:
    """Skips where a package is absent; never in CI, which has them all.

    Args:
        file: The requirements that have them.
        packages: Importable names.
    """
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(
        bool(absent) and not os.environ.get("CI"),
        reason=f"NOT TESTED on this machine: {', '.join(absent)} of {file} is not installed",
    )
