"""A second opinion: it learns, is the same again from its text, and counts as much as it is worth."""

import numpy as np
import pytest

from features.errors import InputError
from recsys.matching.overlap import Overlap
from recsys.matching.overlap_judge import OverlapJudge
from recsys.matching.words import Told, Word


def record(text: str) -> Told:
    return [(0, [Word(word, (0,)) for word in text.split()])]


def drawn(n: int, seed: int) -> tuple[list[tuple[Told, Told]], np.ndarray]:
    """Lamps that are the same if their codes are."""
    random = np.random.default_rng(seed)
    pairs, same = [], random.random(n) < 0.4
    for one in same:
        code = int(random.integers(1000, 9999))
        other = code if one else code + int(random.integers(1, 5))
        colours = random.choice(["red", "blue", "green"], 2)
        pairs.append((record(f"lamp {colours[0]} x{code}"), record(f"{colours[1]} lamp x-{other}")))
    return pairs, same


@pytest.fixture(scope="module")
def judge() -> OverlapJudge:
    return OverlapJudge.fit(Overlap(["name"], [{"lamp": 0.1}], [3.0]), *drawn(300, seed=0))


def test_it_learns_what_tells_pairs_apart(judge: OverlapJudge) -> None:
    pairs, same = drawn(200, seed=1)
    assert ((judge.log_odds(pairs) > 0) == same).mean() > 0.97
    assert judge.log_odds([]).shape == (0,)


def test_the_same_seed_gives_the_same_trees(judge: OverlapJudge) -> None:
    again = OverlapJudge.fit(judge.overlap, *drawn(300, seed=0))
    assert again.trees_as_text() == judge.trees_as_text()


def test_its_text_says_the_same(judge: OverlapJudge) -> None:
    read = OverlapJudge.of_text(judge.overlap, judge.trees_as_text(), (0.25, 2.0, -1.0), both_orders=False)
    pairs, _ = drawn(50, seed=2)
    stated = np.linspace(-3, 3, 50)
    np.testing.assert_allclose(read.joined(stated, pairs), 0.25 * stated + 2 * judge.log_odds(pairs) - 1, rtol=1e-5)


def test_trees_of_something_else_are_refused(judge: OverlapJudge) -> None:
    with pytest.raises(InputError, match=r"the trees know 18 numbers, and pairs have 54"):
        OverlapJudge.of_text(Overlap(["a", "b"], [{}] * 3, [1.0] * 3), judge.trees_as_text(), (1, 1, 0), False)
    with pytest.raises(InputError, match=r"the trees cannot be read"):
        OverlapJudge.of_text(judge.overlap, "no trees", (1, 1, 0), False)


def test_in_both_orders_a_pair_turned_round_has_the_same_answer(judge: OverlapJudge) -> None:
    pairs, same = drawn(100, seed=3)
    both = OverlapJudge.fit(judge.overlap, pairs, same, both_orders=True)
    turned = [(right, left) for left, right in pairs]
    np.testing.assert_allclose(both.log_odds(turned), both.log_odds(pairs), atol=1e-12)


def test_an_opinion_counts_as_much_as_it_is_worth(judge: OverlapJudge) -> None:
    pairs, same = drawn(300, seed=4)
    random = np.random.default_rng(0)
    same = same ^ (random.random(300) < 0.1)  # trees that are always right say nothing of what they are worth
    noise = random.normal(size=300)
    knows = np.where(same, 4.0, -4.0) + random.normal(size=300)
    of_noise, of_knowledge = (judge.weighed(one, pairs, same).weights for one in (noise, knows))
    assert of_noise[0] * noise.std() < 0.2 * of_noise[1] * judge.log_odds(pairs).std()
    assert of_knowledge[0] > of_noise[0]

    def loss(weights: tuple[float, float, float]) -> float:
        together = weights[0] * knows + weights[1] * judge.log_odds(pairs) + weights[2]
        away = np.log(weights[:2]) - np.log(0.5)
        return float(np.sum(np.logaddexp(0, together) - same * together) + away @ away)

    best = loss(of_knowledge)
    for place in range(3):
        for step in (-0.02, 0.02):
            moved = np.array(of_knowledge)
            moved[place] += step
            if (moved[:2] > 0).all():
                assert loss(tuple(moved)) > best - 1e-6


def test_with_hardly_any_pairs_both_count_about_the_same(judge: OverlapJudge) -> None:
    pairs, same = drawn(2, seed=5)
    one, other, _ = judge.weighed(np.array([0.1, -0.1]), pairs, same).weights
    assert 0.2 < one < 1.5 and 0.1 < other < 1.5
