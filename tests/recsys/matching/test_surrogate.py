"""What a matcher would say, learned from what it said: of similarities that are told or not; the same when read."""

import json

import numpy as np
import pytest

from features.errors import InputError
from recsys.matching.similarities import Similarities
from recsys.matching.surrogate import Surrogate, taught

NAMES = ("characters", "code", "price")


def example(n: int = 400, seed: int = 0) -> tuple[Similarities, np.ndarray]:
    """Pairs are the same where codes agree, or where no code is told and the rest is alike."""
    random = np.random.default_rng(seed)
    values = random.random((n, 3)).astype(np.float32)
    values[random.random(n) < 0.4, 1] = np.nan
    same = np.where(np.isnan(values[:, 1]), values[:, 0] > 0.7, values[:, 1] > 0.5)
    return Similarities(NAMES, values), same


def test_a_verdict_that_no_line_divides_is_learned() -> None:
    alike, same = example()
    found = taught(alike, np.where(same, 0.98, 0.02))
    other, truth = example(seed=1)
    assert ((found.log_odds(other) >= 0) == truth).mean() > 0.93


def test_it_is_the_same_again_and_when_it_is_read() -> None:
    alike, same = example(100)
    found = taught(alike, same.astype(float))
    read = Surrogate.from_json(json.loads(json.dumps(found.to_json())))
    np.testing.assert_array_equal(read.log_odds(alike), found.log_odds(alike))
    assert taught(alike, same.astype(float)) == found and taught(alike, same.astype(float), seed=1) != found


def test_pairs_are_judged_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    alike, same = example(50)
    found = taught(alike, same.astype(float))
    whole = found.log_odds(alike)
    monkeypatch.setattr("recsys.matching.surrogate._CHUNK", 7)
    np.testing.assert_allclose(found.log_odds(alike), whole)
    assert found.log_odds(Similarities(NAMES, np.zeros((0, 3), np.float32))).shape == (0,)


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_verdicts_of_one_kind_are_learned_too(chance: float) -> None:
    alike, _ = example(30)
    assert ((taught(alike, np.full(30, chance)).log_odds(alike) > 0) == bool(chance)).all()


def test_what_nobody_tells_does_not_matter() -> None:
    values = np.full((20, 3), np.nan, np.float32)
    values[:, 0] = np.linspace(0, 1, 20)
    found = taught(Similarities(NAMES, values), (values[:, 0] > 0.5).astype(float))
    assert np.isfinite(found.log_odds(Similarities(NAMES, values))).all()


def test_what_never_differed_among_verdicts_decides_nothing_elsewhere() -> None:
    alike, same = example(200)
    values = alike.values.copy()
    values[:, 2] = 0.5
    found = taught(Similarities(NAMES, values), same.astype(float))
    other = values.copy()
    other[:, 2] = 0.6
    before, after = (found.log_odds(Similarities(NAMES, one)) for one in (values, other))
    assert np.abs(after - before).max() < 1.0


def test_what_cannot_be_is_told() -> None:
    alike, same = example(20)
    found = taught(alike, same.astype(float))
    with pytest.raises(InputError, match="similarities of a, b were given to what has learned from others"):
        found.log_odds(Similarities(("a", "b"), alike.values[:, :2]))
    with pytest.raises(InputError, match="no verdicts"):
        taught(Similarities(NAMES, alike.values[:0]), same[:0])
    for broken in ({}, {"names": ["a"]}, {**found.to_json(), "more": [1]}):
        with pytest.raises(InputError, match="nothing that was learned from a matcher"):
            Surrogate.from_json(broken)
