"""What is counted: in small with invented requests, and over a real server."""

import asyncio
import csv
import io
import json
from dataclasses import replace

import httpx
import live_line
import pytest
import slow_engine
from fake_models import FakeClock, Kind, until
from prometheus_client.parser import text_string_to_metric_families

from demos.page import launch
from engines.base import Cancel
from engines.messages import Finished, TextDelta, Timings
from errors import EngineError, InputError
from live.stopwatch import MARKS
from model_spec import ModelSpec
from monitor.turns import LIVE_MARKS, Turn, Turns, as_csv, percentile
from monitor.watch import Watch
from services import Services
from settings import Settings

TIMINGS = Timings(recognized=0.2, first_token=0.3, first_audio=0.5, total=1.0, audio=4.0)


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
        {"recognized": 200, "first_token": 300, "first_audio": 500, "total": 1000}
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
