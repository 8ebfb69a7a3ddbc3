"""Who is let in to a live conversation."""

import pytest

from access import TOKEN_SECONDS, Access
from settings import Settings

HOST = {"host": "parley.example:7860"}
OWN = {**HOST, "origin": "https://parley.example:7860"}
FOREIGN = {**HOST, "origin": "https://evil.example"}


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def access(clock=None, **settings):
    return Access(Settings(_env_file=None, **settings), clock or Clock())


def test_programs_on_this_machine_need_nothing():
    assert access().refusal(HOST, {}) is None


@pytest.mark.parametrize("settings", [{"host": "0.0.0.0"}, {"share": True}, {"auth": "a:b"}])
def test_programs_elsewhere_need_a_key(settings):
    assert "PARLEY_API_KEY" in access(**settings).refusal(HOST, {})
    closed = access(**settings, api_key="secret")
    assert closed.refusal(HOST, {}) == "Wrong or missing API key."
    for wrong in ("wrong", "s\u00e9cret", "secret ", ""):
        assert closed.refusal({**HOST, "authorization": f"Bearer {wrong}"}, {})
    assert closed.refusal({**HOST, "authorization": "Bearer secret"}, {}) is None


@pytest.mark.parametrize("settings", [{"host": "0.0.0.0"}, {"share": True}, {"auth": "a:b"}])
def test_programs_elsewhere_need_no_key_if_told_so(settings):
    assert access(**settings, live_open=True).refusal(HOST, {}) is None
    assert access(**settings, live_open=True).refusal(FOREIGN, {}) is not None
    locked = access(**settings, live_open=True, api_key="secret")
    assert locked.refusal(HOST, {}) == "Wrong or missing API key."


@pytest.mark.parametrize("origin", ["http://[", "https://", "null", "https://parley.example"])
def test_an_origin_that_is_none_stays_out(origin):
    for headers in ({**HOST, "origin": origin}, {"origin": origin}, {"host": "", "origin": origin}):
        door = access()
        assert door.refusal(headers, {"token": door.issue()}) == "This page is not from here."


def test_a_key_that_is_set_is_asked_for_here_too():
    assert access(api_key="secret").refusal(HOST, {}) == "Wrong or missing API key."


def test_pages_need_a_token_and_it_works_once():
    door = access()
    assert door.refusal(OWN, {}) is not None
    token = door.issue()
    assert door.refusal(OWN, {"token": token}) is None
    assert "used" in door.refusal(OWN, {"token": token})
    assert door.refusal(OWN, {"token": "guess"}) is not None


def test_a_token_grows_old():
    clock = Clock()
    door = access(clock)
    token = door.issue()
    clock.now += TOKEN_SECONDS + 1
    assert door.refusal(OWN, {"token": token}) is not None


def test_pages_of_others_stay_out_whatever_they_have():
    door = access(api_key="secret")
    for headers in (FOREIGN, {**FOREIGN, "authorization": "Bearer secret"}):
        assert door.refusal(headers, {"token": door.issue()}) == "This page is not from here."
    assert access().refusal({**HOST, "origin": "null"}, {}) is not None


def test_tokens_do_not_pile_up(monkeypatch):
    monkeypatch.setattr("access.MOST_TOKENS", 10)
    door = access()
    tokens = [door.issue() for _ in range(50)]
    assert len(door._tokens) <= 10
    assert door.refusal(OWN, {"token": tokens[-1]}) is None
