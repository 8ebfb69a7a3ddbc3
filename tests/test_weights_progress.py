"""What is told while weights are fetched."""

import pytest
from weights_servers import (
    noise,
    server_fixture,  # noqa: F401  (a fixture)
    split,
    store,
)

from weights import Progress
from weights.watch import Watch


def test_progress_counts_within_a_wheel(tmp_path, server):
    toy = split(server, noise(3_000_000), 2)
    server.pause = 0.03
    seen: list[Progress] = []
    store(tmp_path, toy).ensure("toy", seen.append)
    down = [p.done_bytes for p in seen if p.state == "downloading"]
    assert down == sorted(down)
    assert len([done for done in down if 0 < done < 1_500_000]) >= 2
    assert {p.state for p in seen} == {"downloading", "unpacking", "verifying"}
    assert {p.total_bytes for p in seen} == {3_000_000}
    assert all(p.name == "toy" and 0 <= p.done_bytes <= p.total_bytes for p in seen)
    assert any(p.seconds_left is not None and 0 <= p.seconds_left < 60 for p in seen)


def test_reports_are_rationed_and_tell_the_time_left():
    now, seen = [100.0], []
    watch = Watch("toy", seen.append, clock=lambda: now[0])
    with watch.phase("downloading", "somewhere", total=1000, done=200):
        for done in range(200, 1001, 10):
            watch.at(done)
            now[0] += 0.05
        outer = len(seen)
        with watch.phase("verifying", "somewhere", total=50):
            watch.at(50)
        now[0] += 1
        watch.at(1000)
    assert 14 <= outer <= 21
    assert seen[0] == Progress("toy", 200, 1000, "somewhere", None, "downloading")
    middle = next(progress for progress in seen if progress.done_bytes == 600)
    assert middle.seconds_left == pytest.approx(2.0)
    assert seen[-1].state == "downloading"
