"""Memory that was freed is given back to the system."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys
import numpy as np, psutil
import allocator

if sys.argv[1] == "settled":
    assert allocator.settle()
resident = psutil.Process().memory_info
np.ones(30_000_000, np.uint8)  # Freed at once: from now on glibc takes such arrays from its heap.
before = resident().rss
kept = []
arrays = []
for _ in range(200):
    arrays.append(np.ones(1_000_000, np.uint8))
    kept.append(np.ones(20_000, np.uint8))
arrays.clear()
print((resident().rss - before) / 1e6)
"""


def growth(how):
    """Megabytes that stay when arrays between living ones are freed."""
    shown = subprocess.run(
        [sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True
    )
    return float(shown.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc only")
def test_what_is_freed_is_given_back():
    assert growth("as it is") > 100, "else nothing is shown"
    assert growth("settled") < 30
