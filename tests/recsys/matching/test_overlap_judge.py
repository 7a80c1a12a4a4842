"""A second opinion: it learns, is the same again from its text, and counts as much as it is worth."""

import dataclasses

import numpy as np
import pytest

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


def fitted(overlap: Overlap, pairs: list, labels: np.ndarray, **options) -> OverlapJudge:
    """Of pairs in several parts."""
    return OverlapJudge.fit(overlap, [pairs[:100], pairs[100:]], labels, **options)


@pytest.fixture(scope="module")
def judge() -> OverlapJudge:
    return fitted(Overlap(["name"], [{"lamp": 0.1}], [3.0]), *drawn(300, seed=0))


def test_it_learns_what_tells_pairs_apart(judge: OverlapJudge) -> None:
    pairs, same = drawn(200, seed=1)
    assert ((judge.log_odds(pairs) > 0) == same).mean() > 0.97
    assert judge.log_odds([]).shape == (0,)


def test_the_same_seed_gives_the_same_trees(judge: OverlapJudge) -> None:
    again, other = (fitted(judge.overlap, *drawn(300, seed=0), seed=one) for one in (0, 1))
    assert again.trees.table().equals(judge.trees.table()) and not other.trees.table().equals(judge.trees.table())


def test_chances_are_learned_from(judge: OverlapJudge) -> None:
    pairs, same = drawn(400, seed=6)
    unsure = fitted(judge.overlap, pairs, np.where(same, 0.6, 0.4))
    found = unsure.log_odds(pairs)
    assert found[same].mean() == pytest.approx(np.log(0.6 / 0.4), abs=0.1)
    assert found[~same].mean() == pytest.approx(-np.log(0.6 / 0.4), abs=0.1)


def test_both_are_joined_by_their_weights(judge: OverlapJudge) -> None:
    joined = dataclasses.replace(judge, weights=(0.25, 2.0, -1.0)).joined(np.array([4.0, 0]), np.array([1.0, -1]))
    assert joined.tolist() == [2.0, -3.0]


def test_in_both_orders_a_pair_turned_round_has_the_same_answer(judge: OverlapJudge) -> None:
    pairs, same = drawn(100, seed=3)
    both = fitted(judge.overlap, pairs, same, both_orders=True)
    turned = [(right, left) for left, right in pairs]
    np.testing.assert_allclose(both.log_odds(turned), both.log_odds(pairs), atol=1e-12)


def test_an_opinion_counts_as_much_as_it_is_worth(judge: OverlapJudge) -> None:
    pairs, same = drawn(300, seed=4)
    random = np.random.default_rng(0)
    same = same ^ (random.random(300) < 0.1)  # trees that are always right say nothing of what they are worth
    noise = random.normal(size=300)
    knows = np.where(same, 4.0, -4.0) + random.normal(size=300)
    trees = judge.log_odds(pairs)
    of_noise, of_knowledge = (judge.stacked(one, trees, same)[0].weights for one in (noise, knows))
    assert of_noise[0] * noise.std() < 0.2 * of_noise[1] * trees.std()
    assert of_knowledge[0] > of_noise[0]

    def loss(weights: tuple[float, float, float]) -> float:
        together = weights[0] * knows + weights[1] * trees + weights[2]
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
    one, other, _ = judge.stacked(np.array([0.1, -0.1]), judge.log_odds(pairs), same)[0].weights
    assert 0.2 < one < 1.5 and 0.1 < other < 1.5


def test_no_pair_is_joined_by_weights_that_have_seen_its_label(judge: OverlapJudge) -> None:
    random = np.random.default_rng(0)
    same = np.arange(40) % 2 == 0
    stated, said = random.normal(np.where(same, 2, -2), 2), random.normal(np.where(same, 1, -1), 2)
    _, together = judge.stacked(stated, said, same)
    # pairs 0, 10, 20, 30 share a part with each other, and with 1, 11, 21, 31: labels that change places among them
    # change the weights of all other parts, and theirs not
    other = same.copy()
    other[[0, 1]] = other[[1, 0]]
    _, changed = judge.stacked(stated, said, other)
    part = np.arange(40) % 10 < 2
    np.testing.assert_allclose(changed[part], together[part], rtol=1e-9)
    assert np.abs(changed - together)[~part].max() > 1e-3


def test_a_label_of_a_single_pair_is_enough(judge: OverlapJudge) -> None:
    stated, said = np.linspace(-2, 2, 9), np.linspace(-1, 1, 9)
    joined, together = judge.stacked(stated, said, np.arange(9) == 8)
    np.testing.assert_allclose(together, joined.joined(stated, said))
