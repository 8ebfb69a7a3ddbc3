"""Published models: what is fetched of a repository, at which commit, and what is checked."""

import logging
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
from weights_servers import (
    COMMIT,
    model_info,
    noise,
    nowhere_fixture,  # noqa: F401  (a fixture)
    server_fixture,  # noqa: F401  (a fixture)
)

from errors import InputError, UnavailableError
from weights import Snapshot, Store

MODEL = Snapshot(
    repo="me/Model",
    revision=None,
    title="A model",
    licence="MIT",
    files=("config.json", "model-*.safetensors", "audio/*.json"),
    optional=("merges.txt", "vocab.json"),
)
PINNED = replace(MODEL, revision=COMMIT)
FILES = {
    "config.json": b"{}",
    "merges.txt": b"a b",
    "model-1-of-2.safetensors": noise(200_000, 1),
    "model-2-of-2.safetensors": noise(300_000, 2),
    "audio/preprocessor.json": b"[]",
    "README.md": b"Read me",
    "model-.safetensors/evil.py": b"import os",
    "audio/deep/x.json": b"1",
    "audio/../x.json": b"1",
}
SMALL = ("config.json", "merges.txt", "audio/preprocessor.json", "README.md")
WANTED = {name for name in FILES if name.startswith("model-") and "evil" not in name}
WANTED |= set(SMALL) - {"README.md"}
OTHER = "beef" * 10


def on_disk(folder):
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.mark.parametrize("model", [MODEL, PINNED])
def test_only_what_is_wanted_is_fetched_and_only_once(tmp_path, server, model):
    model_info(server, "me/Model", FILES, SMALL)
    shelf = Store(tmp_path, endpoint=server.url)
    assert shelf.path(model) is None
    assert shelf.size(model) == sum(len(FILES[name]) for name in WANTED)
    reports = []
    folder = shelf.ensure(model, reports.append)
    assert folder == tmp_path / "Model"
    assert on_disk(folder) == WANTED
    assert all((folder / name).read_bytes() == FILES[name] for name in WANTED)
    assert {report.total_bytes for report in reports if report.state == "downloading"} == {
        shelf.size(model)
    }
    asked = len(server.asked)
    later = Store(tmp_path, offline=True)
    assert later.ensure(model) == later.path(model) == folder
    assert len(server.asked) == asked


def test_a_folder_even_for_one_file(tmp_path, server):
    model_info(server, "me/One", {"am.mvn": b"mean"}, ("am.mvn",))
    one = Snapshot("me/One", None, "One", "MIT", ("am.mvn",))
    shelf = Store(tmp_path, endpoint=server.url)
    assert shelf.ensure(one) == shelf.path(one) == tmp_path / "One"


def test_the_first_fetch_pins_the_commit(tmp_path, server):
    model_info(server, "me/Model", FILES, SMALL)
    folder = Store(tmp_path, endpoint=server.url).ensure(MODEL)
    assert COMMIT in (folder / ".model.json").read_text()
    # The repository moves on; what is lost here still comes from the commit that was pinned.
    moved = FILES | {"config.json": b"other"}
    model_info(server, "me/Model", moved, SMALL, commit=OTHER)
    (folder / "config.json").unlink()
    assert Store(tmp_path, endpoint=server.url).path(MODEL) is None
    Store(tmp_path, endpoint=server.url).ensure(MODEL)
    assert (folder / "config.json").read_bytes() == b"{}"
    # More files wanted by a later version come from it too.
    more = replace(MODEL, files=(*MODEL.files, "README.md"))
    assert Store(tmp_path, offline=True).path(more) is None
    Store(tmp_path, endpoint=server.url).ensure(more)
    assert server.count(OTHER) == 0


def test_another_commit_replaces_what_is_there(tmp_path, server):
    model_info(server, "me/Model", FILES, SMALL)
    Store(tmp_path, endpoint=server.url).ensure(MODEL)
    model_info(server, "me/Model", FILES | {"config.json": b"12"}, SMALL, commit=OTHER)
    moved = replace(MODEL, revision=OTHER)
    shelf = Store(tmp_path, endpoint=server.url)
    assert shelf.path(moved) is None
    assert (shelf.ensure(moved) / "config.json").read_bytes() == b"12"
    # What is the same stays, though the new file is no longer than the old one.
    assert server.count(f"/resolve/{OTHER}/") == 1


@pytest.mark.parametrize("name", ["model-2-of-2.safetensors", "config.json", "merges.txt"])
def test_other_content_than_the_hub_told_is_refused(tmp_path, server, name):
    model_info(server, "me/Model", FILES, SMALL)
    wrong = bytes([FILES[name][0] ^ 1]) + FILES[name][1:]
    server.files[f"/me/Model/resolve/{COMMIT}/{name}"] = wrong
    with pytest.raises(UnavailableError, match=rf"{name} was refused"):
        Store(tmp_path, endpoint=server.url).ensure(MODEL)
    assert name not in on_disk(tmp_path / "Model")
    # What came whole is kept.
    server.files[f"/me/Model/resolve/{COMMIT}/{name}"] = FILES[name]
    Store(tmp_path, endpoint=server.url).ensure(MODEL)
    assert server.count("config.json") == (2 if name == "config.json" else 1)


def test_a_broken_connection_is_picked_up_where_it_broke(tmp_path, server):
    model_info(server, "me/Model", FILES, SMALL)
    server.drops[f"/me/Model/resolve/{COMMIT}/model-2-of-2.safetensors"] = 1
    Store(tmp_path, endpoint=server.url).ensure(MODEL)
    ranges = [wanted for _, path, wanted in server.asked if "model-2" in path]
    assert ranges[0] is None
    assert ranges[1].startswith("bytes=1")


def test_a_full_disk_is_told_before_anything_is_fetched(tmp_path, server, monkeypatch):
    model_info(server, "me/Model", FILES, SMALL)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100_000))
    with pytest.raises(UnavailableError, match=r"500007 bytes.* are needed .* 100000 bytes.* free"):
        Store(tmp_path, endpoint=server.url).ensure(MODEL)
    assert server.count("/resolve/") == 0


def test_what_is_not_there_is_named(tmp_path, server, nowhere):
    model_info(server, "me/Model", {"config.json": b"{}"})
    with pytest.raises(UnavailableError, match=r"me/Model at c0ffee0+ has no model-\*.safetensors"):
        Store(tmp_path, endpoint=server.url).ensure(MODEL)
    with pytest.raises(InputError, match=rf"me/Model at revision {OTHER} is not on"):
        Store(tmp_path, endpoint=server.url).ensure(replace(MODEL, revision=OTHER))
    with pytest.raises(UnavailableError, match=r"cannot be looked up.*by hand: config.json"):
        Store(tmp_path, endpoint=nowhere).ensure(MODEL)
    with pytest.raises(UnavailableError, match=r"offline.*by hand: config.json"):
        Store(tmp_path, offline=True).ensure(MODEL)


def test_files_put_there_by_hand_are_taken(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    folder = tmp_path / "Model"
    for name in sorted(WANTED):
        assert Store(tmp_path, offline=True).path(PINNED) is None
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(FILES[name])
        if name == "config.json":
            (folder / "config.json").rename(folder / "config.later")
    (folder / "config.later").rename(folder / "config.json")
    assert Store(tmp_path, offline=True).ensure(PINNED) == folder
