"""GPUs as the driver tells of them; a driver made for the test stands in for NVIDIA's."""

import subprocess
import sys

import gpu_driver
import pytest
from conftest import ROOT
from gpu_driver import A100, CARDS, GIGABYTE, L4, Driver

import devices
from devices import gpus, pick


@pytest.fixture
def driver(monkeypatch):
    return gpu_driver.install(monkeypatch, Driver(*CARDS))


def test_gpus_are_told_with_their_memory(driver):
    assert gpus() == (L4, A100)
    assert driver.open == 0, "the driver is left open"


@pytest.mark.parametrize(
    ("visible", "titles"),
    [
        ("1,0", ["NVIDIA A100", "NVIDIA L4"]),
        ("GPU-bb", ["NVIDIA A100"]),
        ("1,7,0", ["NVIDIA A100"]),
        ("1,GPU-zz,0", ["NVIDIA A100"]),
        ("-1", []),
        ("", []),
        ("none", []),
    ],
)
def test_visible_devices_are_those_of_cuda(driver, monkeypatch, visible, titles):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = gpus()
    assert [gpu.title for gpu in found] == titles
    assert [gpu.device for gpu in found] == [f"cuda:{n}" for n in range(len(titles))]


def test_without_a_driver_there_are_none(monkeypatch):
    gpu_driver.install(monkeypatch, Driver(broken=True))
    assert gpus() == ()


def test_a_driver_that_breaks_is_told_in_the_log(driver, monkeypatch, caplog):
    def broken(card):
        raise Driver.NVMLError("GPU is lost")

    driver.nvmlDeviceGetMemoryInfo = broken
    assert gpus() == ()
    assert "GPU is lost" in caplog.text
    assert driver.open == 0


BOTH = {"cuda": 21 * GIGABYTE, "cpu": 42 * GIGABYTE}


@pytest.mark.parametrize(
    ("wanted", "memory", "here", "device"),
    [
        ("auto", {"cpu": 1}, (L4,), "cpu"),
        ("auto", BOTH, (), "cpu"),
        ("auto", BOTH, (L4,), "cuda:0"),
        ("auto", BOTH, (L4, A100), "cuda:1"),
        ("auto", {"cuda": 30 * GIGABYTE, "cpu": 60 * GIGABYTE}, (L4,), "cpu"),
        # Not there, or too small: the page tells of it.
        ("auto", {"cuda": 21 * GIGABYTE}, (), "cuda:0"),
        ("auto", {"cuda": 30 * GIGABYTE}, (L4,), "cuda:0"),
        ("cuda", BOTH, (), "cuda:0"),
        ("cpu", BOTH, (L4,), "cpu"),
        ("cpu", {"cuda": 21 * GIGABYTE}, (L4,), "cuda:0"),
    ],
)
def test_pick(wanted, memory, here, device):
    assert pick(wanted, memory, here) == device


def test_a_part_of_a_gpu_is_left_to_others():
    assert L4.budget == int(devices.GPU_SHARE * L4.free)


def test_neither_torch_nor_transformers_is_imported_to_find_out():
    code = (
        "import sys, services, settings\n"
        "services.Services(settings.Settings(_env_file=None, warm=False)).close()\n"
        "print(sorted({'torch', 'transformers'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
