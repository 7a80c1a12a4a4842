"""Who may ask a server that does not answer."""

from __future__ import annotations

import time

import pytest

from serving.state.resting import Resting, Turnstile


def fail(turnstile, insist=False):
    with pytest.raises(TimeoutError), turnstile.through(TimeoutError, insist=insist):
        raise TimeoutError


def may_ask(turnstile, insist=False):
    try:
        with turnstile.through(TimeoutError, insist=insist):
            return True
    except Resting:
        return False


def test_a_rest_grows_with_each_failure_and_ends(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    turnstile = Turnstile(first=1, longest=5)
    assert not turnstile.resting
    for rest in (1, 2, 4, 5, 5):
        fail(turnstile)
        now[0] += rest - 0.01
        with pytest.raises(Resting), turnstile.through(TimeoutError):
            pass
        assert turnstile.resting
        now[0] += 0.02
        assert not turnstile.resting
    assert may_ask(turnstile)
    fail(turnstile)
    now[0] += 1.01
    assert may_ask(turnstile)  # it has answered meanwhile, and the first rest is short again


def test_one_finds_out_whether_it_is_back_and_nobody_beside():
    turnstile = Turnstile(first=60)
    fail(turnstile)
    assert not may_ask(turnstile)
    with turnstile.through(TimeoutError, insist=True):
        assert not may_ask(turnstile) and not may_ask(turnstile, insist=True)
    assert may_ask(turnstile)
    fail(turnstile)
    fail(turnstile, insist=True)
    assert not may_ask(turnstile) and may_ask(turnstile, insist=True) and may_ask(turnstile)


def test_those_who_were_asking_when_it_went_away_are_one_failure(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    turnstile = Turnstile(first=1, longest=60)
    asking = [turnstile.through(TimeoutError) for _ in range(5)]
    for one in asking:
        one.__enter__()
    for one in asking:
        with pytest.raises(TimeoutError):
            one.gen.throw(TimeoutError())
    now[0] += 1.01
    assert may_ask(turnstile)


def test_a_refusal_is_an_answer():
    turnstile = Turnstile(first=60)
    fail(turnstile)
    with pytest.raises(ValueError), turnstile.through(TimeoutError, insist=True):
        raise ValueError
    assert may_ask(turnstile)
