"""What is counted: in small with invented requests, and over a real server."""

import asyncio
import csv
import io
import json
import re
from dataclasses import replace

import gpu_driver
import httpx
import live_line
import pytest
import slow_engine
from fake_models import FakeClock, Kind, until
from gpu_driver import CARDS, GIGABYTE, Driver
from prometheus_client.parser import text_string_to_metric_families

from demos import monitor_frames as frames
from demos.monitor_pictures import SHOWN, tiles, waterfalls
from demos.page import launch
from engines.base import Cancel
from engines.messages import Finished, TextDelta, Timings
from errors import EngineError, InputError
from live.stopwatch import MARKS
from model_spec import ModelSpec, ModelStatus
from monitor.turns import LIVE_MARKS, Turn, Turns, as_csv, percentile
from monitor.watch import Watch
from services import Services
from settings import Settings

TIMINGS = Timings(
    encoded=0.1, recognized=0.2, first_token=0.3, first_audio=0.5, total=1.0, audio=4.0
)


#: An L4 of which 1 GB is taken, and an A100 likewise.
GPUS = [
    {
        "device": f"cuda:{number}",
        "title": title,
        "used_bytes": GIGABYTE,
        "total_bytes": total * GIGABYTE,
    }
    for number, (title, total) in enumerate([("NVIDIA L4", 24), ("NVIDIA A100", 40)])
]


@pytest.fixture
def gpus(monkeypatch):
    """Two GPUs, as a driver made for the test tells of them."""
    return gpu_driver.install(monkeypatch, Driver(*CARDS))


@pytest.fixture
def watch():
    return Watch(lambda: 1, lambda: 2, list, FakeClock())


def run(watch, *, error=None, leave=False, live=False):
    def events():
        yield TextDelta("la")
        if error:
            raise error
        yield Finished(TIMINGS)

    def request():
        with watch.request("sqa", "slow", live=live) as see:
            yield from see(events())

    events_seen = request()
    next(events_seen)
    if leave:
        events_seen.close()
    else:
        list(events_seen)


def value(watch, name, **labels):
    return watch.counts.registry.get_sample_value(name, labels)


def test_a_request_that_is_over(watch):
    run(watch)
    (turn,) = watch.turns.all()
    assert (turn.task, turn.engine, turn.outcome) == ("sqa", "slow", "finished")
    assert dict(turn.marks) == pytest.approx(
        {"encoded": 100, "recognized": 200, "first_token": 300, "first_audio": 500, "total": 1000}
    )
    assert turn.factor == 0.25 and turn.mouth_to_ear is None
    assert value(watch, "parley_stage_seconds_sum", stage="first_audio") == pytest.approx(0.5)
    assert value(watch, "parley_real_time_factor_count", task="sqa") == 1
    labels = {"task": "sqa", "engine": "slow", "outcome": "finished"}
    assert value(watch, "parley_requests_total", **labels) == 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [(InputError("x"), "InputError"), (EngineError("x"), "EngineError"), (KeyError(), "Bug")],
)
def test_a_request_that_fails(watch, error, kind):
    with pytest.raises(type(error)):
        run(watch, error=error)
    assert watch.turns.all()[0].outcome == "failed"
    assert watch.errors() == {kind: 1}
    assert value(watch, "parley_errors_total", kind=kind) == 1


def test_a_request_that_is_left_is_no_error(watch):
    run(watch, leave=True)
    assert watch.turns.all()[0].outcome == "cancelled"
    assert not watch.errors()


def test_a_live_turn(watch):
    run(watch, live=True)
    assert not watch.turns.all(), "the request of a live turn is not told twice"
    watch.live_turn("slow", {"endpoint": 300.0, "first_sent": 600.0, "first_played": 700.0}, 2.0)
    watch.live_turn("slow", {"endpoint": 300.0, "first_sent": 500.0}, 2.0)
    assert [turn.mouth_to_ear for turn in watch.turns.all()] == [700, 500]
    assert watch.stages()["mouth_to_ear"] == [700, 500]
    assert value(watch, "parley_stage_seconds_sum", stage="vad") == pytest.approx(0.6)
    watch.underrun()
    stats = watch.stats()
    assert stats["underruns"] == 1 and stats["requests"] == {"finished": 1}
    assert stats["stages_ms"]["mouth_to_ear"] == {"count": 2, "p50": 500, "p95": 700}
    assert LIVE_MARKS == MARKS


def samples(watch, name):
    """What Prometheus is told of a metric, by the values of its labels in their order."""
    (family,) = [
        family
        for family in text_string_to_metric_families(watch.counts.exposition().decode())
        if family.name == name
    ]
    return {
        tuple(text for _, text in sorted(sample.labels.items())): sample.value
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def shown(html):
    """What a page says, without its tags."""
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_all_of_it_is_on_the_page_in_the_metrics_and_in_the_statistics(watch, gpus, monkeypatch):
    """Each figure is another one, so that none can pass for its neighbour."""
    models = [
        ModelStatus(name, name.title(), "cuda:0", memory, state, 0, None, None, "", None)
        for name, memory, state in (("thinker", 700, "ready"), ("absentee", 800, "absent"))
    ]
    monkeypatch.setattr(watch, "_models", lambda: models)
    monkeypatch.setattr(watch, "_active", lambda: 3)
    watch.live.append((lambda: 5, lambda: 7))
    run(watch)
    watch.live_turn("slow", {"endpoint": 310.0, "first_played": 710.0}, 2.0)
    for error in (InputError("x"), EngineError("x"), EngineError("y")):
        watch.error(error)
    for _ in range(4):
        watch.underrun()
    stats, page = watch.stats(), shown(tiles(watch))

    stages = {"vad", "encoding", "recognition", "first_token", "first_audio", "mouth_to_ear"}
    assert stages <= stats["stages_ms"].keys()
    for stage in stages:
        assert value(watch, "parley_stage_seconds_count", stage=stage) == 1
    bars = frames.stages(watch.stages())
    assert list(bars["stage"]) == [name for name in frames.STAGES.values() for _ in frames.SHARES]
    assert bars["milliseconds"].notna().all()
    assert "Mouth to ear 710 ms" in page

    assert stats["sessions"] == {"live": 5, "waiting": 7}
    assert stats["queue"] == {"active": 3, "waiting": 2}
    for name, number in (
        ("sessions", 5),
        ("sessions_waiting", 7),
        ("queue_active", 3),
        ("queue_waiting", 2),
    ):
        assert value(watch, f"parley_{name}") == number
    assert "Conversations 5 3 at work, 9 waiting" in page
    assert set(frames.load([watch.state()]).dropna()["number"]) == {5, 3, 2}

    assert stats["real_time_factor"]["p50"] == 0.25
    assert value(watch, "parley_real_time_factor_sum", task="sqa") == 0.25
    assert "Real-time factor 0.25 p95 0.25, 4 underruns" in page
    assert stats["underruns"] == 4 and value(watch, "parley_underruns_total") == 4

    assert stats["errors"] == {"InputError": 1, "EngineError": 2}
    assert samples(watch, "parley_errors") == {("InputError",): 1, ("EngineError",): 2}
    assert "Errors 3 2 EngineError, 1 InputError" in page

    assert stats["memory"]["gpus"] == GPUS and stats["memory"]["process_bytes"] > 10**7
    assert value(watch, "process_resident_memory_bytes") > 10**7
    assert "NVIDIA L4 1.0 of 24.0 GB; NVIDIA A100 1.0 of 40.0 GB" in page
    drawn = frames.memory([watch.state()]).dropna()
    assert dict(zip(drawn["what"], drawn["gigabytes"], strict=True))["GPU"] == 2.0

    assert [(model["name"], model["state"]) for model in stats["models"]] == [
        ("thinker", "ready"),
        ("absentee", "absent"),
    ]
    assert samples(watch, "parley_model_loaded_bytes") == {("cuda:0", "thinker"): 700}
    assert "Loaded: Thinker. Memory:" in page


def test_a_machine_without_a_gpu_tells_of_none(watch, monkeypatch):
    gpu_driver.install(monkeypatch, Driver(broken=True))
    assert watch.stats()["memory"]["gpus"] == []
    assert not samples(watch, "parley_gpu_memory_bytes")
    assert list(frames.memory([watch.state()]).dropna()["what"]) == ["process"]


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        (1, "The last turn"),
        (SHOWN, f"The last {SHOWN} turns"),
        (40, f"The last {SHOWN} turns, of 40 that are kept"),
    ],
)
def test_the_waterfalls_are_those_of_the_last_turns(kept, told):
    turns = [
        Turn(0, f"engine-{number}", "live", "finished", (("endpoint", 1.0),))
        for number in range(kept)
    ]
    page = waterfalls(turns)
    assert f">{told}</h3>" in page
    drawn = [int(number) for number in re.findall(r"engine-(\d+)", page)]
    assert drawn == list(range(kept))[::-1][:SHOWN], "the last ones, newest first"


def test_percentiles():
    assert percentile([], 0.5) is None
    assert percentile([3], 0.95) == 3
    assert [percentile(range(1, 101), share) for share in (0.5, 0.95, 1.0)] == [50, 95, 100]


def test_turns_are_bounded_and_exported():
    turns = Turns(2)
    for number in range(3):
        turns.add(Turn(number, "slow", "live", "finished", (("endpoint", 1.0),)))
    kept = turns.all()
    assert [turn.at for turn in kept] == [1, 2]
    rows = list(csv.DictReader(io.StringIO(as_csv(kept))))
    assert [row["at"] for row in rows] == ["1", "2"]
    assert rows[0]["endpoint_ms"] == "1.0" and rows[0]["total_ms"] == ""


def families(url, **options):
    # The embedded models may have all of the machine at that moment.
    answer = httpx.get(f"{url}metrics", timeout=30, **options)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def test_over_http(page_url, services, openai_client):
    before = len(services.watch.turns.all())
    openai_client.audio.speech.create(model="default", voice="default", input="Good morning.")
    found = families(page_url)
    for name in ("stage_seconds", "real_time_factor", "requests", "sessions", "queue_active"):
        assert found[f"parley_{name}"].samples, name
    loaded = {sample.labels["model"] for sample in found["parley_model_loaded_bytes"].samples}
    assert "hibari" in loaded
    assert found["process_resident_memory_bytes"].samples[0].value > 10**8
    stats = httpx.get(f"{page_url}v1/stats").json()
    assert len(stats["turns"]) > before
    assert stats["turns"][-1]["task"] == "tts" and stats["turns"][-1]["real_time_factor"] < 5
    assert stats["memory"]["process_bytes"] > 10**8
    assert httpx.get(f"{page_url}health").json()["status"] in {"ready", "idle", "loading"}
    assert httpx.head(f"{page_url}health").status_code == 200
    openai_client.models.list()


def test_memory_of_gpus_over_http(page_url, gpus):
    told = {
        (sample.labels["device"], sample.labels["state"]): sample.value
        for sample in families(page_url)["parley_gpu_memory_bytes"].samples
    }
    assert told == {
        ("cuda:0", "used"): GIGABYTE,
        ("cuda:0", "free"): 23 * GIGABYTE,
        ("cuda:1", "used"): GIGABYTE,
        ("cuda:1", "free"): 39 * GIGABYTE,
    }
    assert httpx.get(f"{page_url}v1/stats", timeout=30).json()["memory"]["gpus"] == GPUS


def test_a_live_turn_over_a_socket(page_url, services):
    # Other tests of this server leave turns, too, and only the last ones are kept.
    before = services.watch.turns.all()

    def new_turns():
        turns = services.watch.turns.all()
        return [turn for turn in turns if turn.task == "live" and turn not in before]

    async def talk():
        async with live_line.dial(page_url) as line:
            await live_line.receive(line, "session.created")
            inside = families(page_url)["parley_sessions"].samples[0].value
            await live_line.ask(line, "Say: yes.")
            await live_line.receive(line, "response.done")
            await asyncio.to_thread(until, new_turns)
            return inside

    assert asyncio.run(talk()) >= 1
    turn = new_turns()[-1]
    assert turn.mouth_to_ear > 0 and turn.audio > 0.1
    until(lambda: not services.watch.state().live)


def test_an_underrun_is_counted():
    """A piece of a live reply that comes after the one before was heard, and one in good time."""
    engine = slow_engine.Slow()
    engine.chunks = 3
    settings = Settings(_env_file=None, port=0, warm=False, engine="slow")
    with Services(settings, [slow_engine.entry(engine)]) as services:
        page = launch(services, block=False)

        async def talk():
            async with live_line.dial(page.local_url) as line:
                await live_line.ask(line, "Go on.")
                engine.go.release(2)
                await live_line.receive(line, "response.output_audio.delta")
                await asyncio.sleep(0.3)
                assert not counted()
                await asyncio.sleep(2.5)  # Two seconds of speech were sent, and are played.
                engine.go.release()
                await live_line.receive(line, "response.done")

        def counted():
            return httpx.get(f"{page.local_url}v1/stats").json()["underruns"]

        assert not counted()
        asyncio.run(talk())
        assert counted() == 1
        (sample,) = families(page.local_url)["parley_underruns"].samples[:1]
        assert sample.value == 1
        page.close()


def test_who_may_look():
    """With a key, only its owner; how the server is, everybody may ask."""
    engine = slow_engine.Slow()
    settings = Settings(_env_file=None, port=0, warm=False, engine="slow", api_key="key")
    with Services(settings, [slow_engine.entry(engine)]) as services:
        page = launch(services, block=False)
        url = page.local_url
        for path in ("metrics", "v1/stats"):
            assert httpx.get(url + path).status_code == 401
            owner = {"Authorization": "Bearer key"}
            assert httpx.get(url + path, headers=owner).status_code == 200
        assert httpx.get(f"{url}health").json() == {"status": "ready"}
        events = services.speak("la", cancel=Cancel())
        engine.go.release()
        next(events)
        assert services.watch.state().active == 1
        events.close()
        assert services.watch.state().active == 0
        assert json.loads(json.dumps(services.watch.stats()))["requests"] == {"cancelled": 1}
        page.close()


def test_health_of_a_server_whose_model_failed(services, page_url, monkeypatch):
    known = [replace(status, state="failed") for status in services.models.status()]
    monkeypatch.setattr(services.models, "status", lambda: known)
    answer = httpx.get(f"{page_url}health")
    assert (answer.status_code, answer.json()) == (503, {"status": "failed"})
    assert int(answer.headers["retry-after"]) > 0
    monkeypatch.undo()
    assert httpx.get(f"{page_url}health").status_code == 200


def test_who_can_answer_now(tmp_path):
    """`?ready=1` is for a proxy: only who has its models gets requests."""
    kind = Kind("thinker", [])
    spec = ModelSpec("thinker", "Thinker", "cpu", 10**9, kind.load)
    entry = replace(slow_engine.entry(slow_engine.Slow()), specs=lambda settings, store: (spec,))
    settings = Settings(
        _env_file=None, port=0, warm=False, engine="slow", data=tmp_path, memory_budget=10**12
    )
    with Services(settings, [entry]) as services:
        page = launch(services, block=False)

        def answers():
            """What each kind of question gets: status, and what is told."""
            found = [httpx.get(f"{page.local_url}health{which}") for which in ("", "?ready=1")]
            assert len({answer.text for answer in found}) == 1
            assert all("retry-after" in answer.headers for answer in found if answer.is_error)
            return [answer.status_code for answer in found], found[0].json()["status"]

        def state():
            (own,) = [status for status in services.models.status() if status.name == "thinker"]
            return own.state

        assert answers() == ([200, 503], "idle")
        kind.may_load.clear()
        services.models.warm(["thinker"])
        until(lambda: kind.loads)
        assert answers() == ([200, 503], "loading")
        kind.may_load.set()
        until(lambda: state() == "ready")
        assert answers() == ([200, 200], "ready")
        services.models.unload("thinker")
        until(lambda: state() == "absent")
        kind.error = OSError("no")
        services.models.warm(["thinker"])
        until(lambda: state() == "failed")
        assert answers() == ([503, 503], "failed")
        page.close()
