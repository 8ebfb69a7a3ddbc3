"""Whether an engine can run: what is told, and what would help."""

import pytest

from devices import Gpu
from engines import needs
from engines.needs import Fit, Machine, Requirements, fit
from settings import Settings
from weights import Store

GIGABYTE = 10**9
L4 = Gpu("cuda:0", "NVIDIA L4", 24 * GIGABYTE, 23 * GIGABYTE)
LAPTOP = Machine({"cpu": 8 * GIGABYTE}, disk=100 * GIGABYTE)
BOX = Machine({"cpu": 60 * GIGABYTE, L4.device: L4.budget}, (L4,), 100 * GIGABYTE)


@pytest.fixture
def judge(tmp_path, monkeypatch):
    """Judges engines, with a torch for GPUs unless told otherwise."""

    def judge(memory, machine, requires=Requirements(), *, torch_for_gpu=True, **given):
        monkeypatch.setattr(needs, "_torch_is_for_the_cpu", lambda: not torch_for_gpu)
        settings = Settings(_env_file=None, data=tmp_path, **given)
        return fit(requires, memory, machine, settings, Store(tmp_path))

    return judge


def test_what_fits_says_nothing(judge):
    found = judge({"cpu": 3 * GIGABYTE}, LAPTOP)
    assert found == Fit() and found.ok and str(found) == "fits"
    assert judge({"cuda:0": 20 * GIGABYTE}, BOX).ok
    assert judge({}, LAPTOP).ok, "an engine on another machine needs no memory here"


def test_no_gpu(judge):
    found = judge({"cuda:0": 21 * GIGABYTE}, LAPTOP)
    assert found.reason == "needs 21 GB of GPU memory; this machine has none"
    assert found.remedy == "It runs on a GPU with 24 GB."
    assert found.is_certain


def test_a_small_gpu(judge):
    found = judge({"cuda:0": 37 * GIGABYTE}, BOX)
    assert found.reason == "needs 37 GB of GPU memory; models may take 21 GB here"
    assert found.remedy == "It runs on a GPU with 48 GB."
    # Somebody else may leave the GPU; a request asks again.
    assert not found.is_certain


def test_a_gpu_that_is_not_to_be_used(judge):
    machine = Machine({"cpu": 60 * GIGABYTE}, (L4,))
    found = judge({"cuda:0": GIGABYTE}, machine, device="cpu")
    assert "not to be used" in found.reason and "--device auto" in found.remedy


def test_a_gpu_that_is_not_there_beside_one_that_is(judge):
    assert "there is no cuda:1 here" in judge({"cuda:1": GIGABYTE}, BOX).reason


def test_little_memory(judge):
    found = judge({"cpu": 42 * GIGABYTE}, LAPTOP)
    assert found.reason == "needs 42 GB of memory; models may take 8.0 GB here"
    assert not found.is_certain


def test_missing_packages(judge):
    one = judge({}, LAPTOP, Requirements(packages=("json", "no_such_package")))
    assert one.reason == "needs no_such_package, which is not installed"
    assert one.remedy == "Run: pip install -r requirements-gpu.txt"
    two = judge({}, LAPTOP, Requirements(packages=("no_such", "nor_this"), install="x.txt"))
    assert two.reason == "needs no_such and nor_this, which are not installed"
    assert two.remedy.endswith("x.txt") and two.is_certain


def test_torch_for_the_cpu_on_a_machine_with_a_gpu(judge):
    assert "for the CPU only" in judge({"cuda:0": GIGABYTE}, BOX, torch_for_gpu=False).reason
    assert judge({"cpu": GIGABYTE, "remote": 0}, BOX, torch_for_gpu=False).ok


def test_weights_that_have_to_be_fetched(judge):
    wants = Requirements(download=21 * GIGABYTE, missing=lambda settings, store: 20 * GIGABYTE)
    assert judge({}, BOX, wants).ok
    offline = judge({}, BOX, wants, offline=True)
    assert offline.reason == "needs weights of 20 GB that are not here, and Parley is offline"
    full = judge({}, Machine({}, disk=GIGABYTE), wants)
    assert full.reason == "needs 20 GB of disk; 1.0 GB are free"
    there = Requirements(download=21 * GIGABYTE, missing=lambda settings, store: 0)
    assert judge({}, Machine({}, disk=0), there, offline=True).ok


def test_an_obstacle_of_its_own(judge):
    own = Fit("other", "needs the address of a server", "Set PARLEY_SERVER.")
    assert judge({}, LAPTOP, Requirements(check=lambda *_: own)) == own
    assert judge({}, LAPTOP, Requirements(check=lambda *_: None)).ok
    assert str(own) == "needs the address of a server. Set PARLEY_SERVER."


def test_the_gpu_comes_before_what_can_be_installed(judge):
    wants = Requirements(packages=("no_such_package",))
    assert judge({"cuda:0": GIGABYTE}, LAPTOP, wants).obstacle == "device"


@pytest.mark.parametrize(
    ("amount", "words"), [(21e9, "21 GB"), (3.54e9, "3.5 GB"), (260e6, "260 MB")]
)
def test_size(amount, words):
    assert needs.size(int(amount)) == words
