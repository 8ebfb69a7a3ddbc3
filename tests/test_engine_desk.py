"""Engines that are loaded and unloaded by hand, refused, and remembered."""

import many_engines
import pytest
from fake_models import until
from many_engines import TERMS, Snail

from engines.base import Cancel
from engines.catalog import CATALOG
from engines.messages import Conversation, Turn
from errors import InputError, UnavailableError
from model_spec import ModelSpec
from services import Services
from settings import Settings


def started(folder, snail=None, **given):
    catalog = [*CATALOG, *many_engines.entries(snail or Snail())]
    settings = Settings(_env_file=None, warm=False, data=folder, offline=True, **given)
    return Services(settings, catalog)


@pytest.fixture
def snail():
    return Snail()


@pytest.fixture
def house(tmp_path, snail, monkeypatch):
    """Services whose engines have one model each, but for the embedded one's."""
    monkeypatch.setattr(many_engines.embedded, "specs", lambda settings, store: ())
    # Nothing can be fetched here, and nothing needs to be.
    monkeypatch.setattr("engines.needs._weights", lambda *_: None)
    with started(tmp_path, snail) as services:
        yield services


def test_every_engine_is_listed_with_its_fit(house):
    found = {s.entry.info.name: s for s in house.desk.statuses()}
    shipped = [entry.info.name for entry in CATALOG]
    assert list(found) == [*shipped, "snail", "scholar", "giant", "whale", "wheel", "parcel"]
    assert found["giant"].fit.reason == "needs 21 GB of GPU memory; this machine has none"
    assert found["giant"].memory == {"cuda:0": 21_000_000_000}
    assert "needs 9000 GB of memory" in found["whale"].fit.reason
    assert found["wheel"].fit.obstacle == "packages"
    assert house.fit("parcel").remedy == "Set PARLEY_SERVER to one."
    assert house.fit().ok and house.fit("snail").ok
    assert found["snail"].missing == 2_500_000_000
    assert found["scholar"].terms == TERMS and not found["scholar"].can_answer
    with pytest.raises(InputError, match="no engine 'nobody'"):
        house.fit("nobody")


def test_a_load_tells_how_far_it_is_and_can_be_unloaded(house, snail):
    desk = house.desk
    assert desk.status("snail").state == "absent"
    desk.load("snail")
    desk.load("snail")  # A second press begins nothing.
    snail.go(3)
    until(lambda: (p := desk.status("snail").progress) and p.fraction == 0.3)
    status = desk.status("snail")
    assert status.state == "loading" and status.models == (0, 1)
    assert status.progress.bytes_done == 750_000_000 and status.progress.seconds_left == 42
    with pytest.raises(UnavailableError, match="just being loaded"):
        desk.unload("snail")
    snail.go(7)
    until(lambda: desk.status("snail").state == "ready")
    until(lambda: not desk.status("snail").users)
    desk.unload("snail")
    assert desk.status("snail").state == "absent"
    assert snail.loads == 1


def test_a_failed_load_is_told_and_tried_again(house, snail):
    snail.failure = "The Snail's shell is broken. Bring another one."
    house.desk.load("snail")
    snail.go()
    until(lambda: house.desk.status("snail").state == "failed")
    assert house.desk.status("snail").failure == snail.failure
    assert not house.desk.status("snail").can_answer
    snail.failure = ""
    house.desk.load("snail")
    assert house.desk.status("snail").failure == ""
    snail.go()
    until(lambda: house.desk.status("snail").state == "ready")


def test_what_only_some_requests_need_may_be_missing(tmp_path, snail, monkeypatch):
    """As a recognizer of other languages that cannot be fetched: the rest is not called off."""

    def fail(report):
        raise UnavailableError("The rare ears cannot be fetched.")

    rare = ModelSpec("rare", "Rare ears", "cpu", 1_000, fail)
    monkeypatch.setattr(many_engines.embedded, "specs", lambda settings, store: (rare,))
    monkeypatch.setattr("engines.needs._weights", lambda *_: None)
    with started(tmp_path, snail) as services:
        desk = services.desk
        desk.load("snail")
        until(lambda: snail.loads)
        snail.go()
        until(lambda: desk.status("snail").state == "ready")
        until(lambda: desk.status("snail").failure)
        status = desk.status("snail")
        assert status.failure == "The rare ears cannot be fetched." and status.can_answer
        assert status.state == "ready" and status.models == (1, 2) and snail.loads == 1


def test_a_load_can_be_called_off(house, snail):
    house.desk.load("snail")
    until(lambda: snail.loads)
    house.desk.stop("snail")
    until(lambda: house.desk.status("snail").state == "absent")
    assert house.desk.status("snail").failure == ""


def test_no_unload_while_in_use(house, snail):
    snail.go()
    with house.models.use("snail", cancel=Cancel()):
        with pytest.raises(UnavailableError, match="in use"):
            house.desk.unload("snail")
        assert house.desk.status("snail").state == "ready"
        assert house.desk.status("snail").users == 1


def test_unloading_is_all_or_nothing(house, snail):
    snail.go()
    with house.models.use("snail", cancel=Cancel()):
        pass
    with house.models.use("scholar", cancel=Cancel()):
        with pytest.raises(UnavailableError, match="in use"):
            house.models.unload("snail", "scholar")
        assert house.desk.status("snail").state == "ready"
    house.models.unload("snail", "scholar")
    assert {house.desk.status(name).state for name in ("snail", "scholar")} == {"absent"}


def test_what_does_not_fit_is_neither_loaded_nor_asked(house):
    for name in ("giant", "wheel", "parcel"):
        reason = house.fit(name).reason
        with pytest.raises(UnavailableError, match=reason):
            house.desk.load(name)
        with pytest.raises(UnavailableError, match=reason):
            list(house.converse(Turn(text="Hello?"), Conversation(), engine=name, cancel=Cancel()))


def test_terms_are_asked_once_and_kept(house, tmp_path):
    with pytest.raises(UnavailableError, match="academic research only"):
        house.desk.load("scholar")
    asked = house.converse(Turn(text="Hi"), Conversation(), engine="scholar", cancel=Cancel())
    with pytest.raises(UnavailableError, match="--agree scholar"):
        list(asked)
    house.desk.agree("scholar")
    house.desk.load("scholar")
    until(lambda: house.desk.status("scholar").state == "ready")
    with started(tmp_path) as later:
        assert later.desk.status("scholar").terms == ""
    # Other terms ask again, and what cannot be read does too.
    kept = tmp_path / "agreements.json"
    kept.write_text(kept.read_text().replace("academic research", "anything"))
    with started(tmp_path) as later:
        assert later.desk.status("scholar").terms == TERMS
    kept.write_text("{")
    with started(tmp_path) as later:
        assert later.desk.status("scholar").terms == TERMS


def test_terms_can_be_agreed_to_at_start(tmp_path):
    with started(tmp_path, agree="giant, scholar") as services:
        assert services.desk.status("scholar").terms == ""


def test_an_engine_that_cannot_be_set_up_leaves_the_others_alone(tmp_path):
    def broken(settings, store):
        raise InputError("PARLEY_OWL is no folder. Give one.")

    (owl,) = (
        many_engines.replace(entry, specs=broken)
        for entry in many_engines.entries(Snail())
        if entry.info.name == "snail"
    )
    settings = Settings(_env_file=None, warm=False, data=tmp_path)
    with Services(settings, [*CATALOG, owl]) as services:
        assert services.fit("snail").remedy == "PARLEY_OWL is no folder. Give one."
        with pytest.raises(UnavailableError, match="PARLEY_OWL"):
            services.engine("snail")
    with pytest.raises(InputError, match="PARLEY_OWL"):
        Services(settings.model_copy(update={"engine": "snail"}), [*CATALOG, owl])


def test_the_embedded_engine_tells_what_it_needs(services):
    status = services.desk.status("embedded")
    assert status.fit.ok and set(status.memory) == {"cpu"}
    assert 2e9 < status.memory["cpu"] < 3e9
    assert 0 <= status.missing <= status.entry.requires.download < 1.5e9
    assert status.models[1] == 5
