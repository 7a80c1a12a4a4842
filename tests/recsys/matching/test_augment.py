"""Changed pairs: nothing is invented, what is asked for happens, and each draw gives the same again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import InputError
from recsys.matching.augment import AUGMENTATIONS, augment
from recsys.matching.words import Word


def record(*values: str):
    return [(n, [Word(one, (n,)) for one in value.split()]) for n, value in enumerate(values)]


def texts(told):
    return [(attribute, [word.text for word in words]) for attribute, words in told]


PAIR = (record("a b c d e f", "g", "h i j k l m n o p q"), record("r s", "t", ""))


def draws(how: str, n: int = 400, pair=PAIR):
    return [tuple(map(texts, augment(pair, how, np.random.default_rng(seed)))) for seed in range(n)]


def sides(pair):
    """Both records, the one that begins with a, b ... first."""
    first = {text for _, words in pair[0] for text in words}
    return pair if first & set("abcdefghijklmnopq") else pair[::-1]


@pytest.mark.parametrize("how", AUGMENTATIONS)
def test_a_seed_gives_the_same_again_and_the_pair_stays_as_it_is(how: str) -> None:
    before = tuple(map(texts, PAIR))
    assert draws(how, 50) == draws(how, 50)
    assert tuple(map(texts, PAIR)) == before


def test_half_of_the_pairs_change_sides() -> None:
    assert set(map(str, draws("none"))) == {str(tuple(map(texts, PAIR)))}
    for how in set(AUGMENTATIONS) - {"none"}:
        swapped = sum(sides(pair) != pair for pair in draws(how))
        assert 150 < swapped < 250, how


def test_a_deleted_span_has_one_word_or_two_and_never_a_whole_value() -> None:
    lost = set()
    for pair in map(sides, draws("span_del")):
        words = [words for told in pair for _, words in told]
        was = [words for told in map(texts, PAIR) for _, words in told]
        changed = [(one, old) for one, old in zip(words, was, strict=True) if one != old]
        assert len(changed) == 1
        (one, old) = changed[0]
        assert one and len(old) - len(one) in (1, 2)
        start = next(n for n in range(len(old)) if n == len(one) or one[n] != old[n])
        assert one == old[:start] + old[start + len(old) - len(one) :]
        lost |= {tuple(old[start : start + len(old) - len(one)])}
    assert len(lost) > 15


def test_a_shuffled_span_has_up_to_four_words() -> None:
    widths = set()
    for pair in map(sides, draws("span_shuffle")):
        for told, old in zip(pair, map(texts, PAIR), strict=True):
            for (_, words), (_, was) in zip(told, old, strict=True):
                assert sorted(words) == sorted(was)
                places = [n for n in range(len(words)) if words[n] != was[n]]
                widths |= {places[-1] - places[0] + 1} if places else {0}
    assert widths == {0, 2, 3, 4}


def test_a_deleted_attribute_is_short_and_not_the_last() -> None:
    gone = set()
    for pair in map(sides, draws("attr_del")):
        for told, old, side in zip(pair, map(texts, PAIR), "lr", strict=True):
            assert any(words for _, words in told)
            gone |= {side + str(attribute) for attribute, _ in old if attribute not in dict(told)}
    assert gone == {"l0", "l1", "r0", "r1"}  # one of ten words says too much, and an empty one nothing
    alone = (record("a"), record("r", ""))
    assert {str(sides(pair)) for pair in draws("attr_del", 20, alone)} == {str(tuple(map(texts, alone)))}


def test_attributes_in_another_order() -> None:
    orders = {str([one for one, _ in told]) for pair in draws("attr_shuffle") for told in pair}
    assert len(orders) == 6
    for pair in map(sides, draws("attr_shuffle", 50)):
        assert [dict(told) for told in pair] == [dict(told) for told in map(texts, PAIR)]


def test_all_makes_several_changes() -> None:
    found = {str(sides(pair)) for pair in draws("all")}
    assert len(found) > 300


@given(
    st.tuples(*[st.lists(st.text("abcd ", max_size=24), min_size=1, max_size=4)] * 2),
    st.sampled_from(AUGMENTATIONS),
    st.integers(0, 1000),
)
def test_nothing_is_invented(values, how, seed) -> None:
    pair = tuple(record(*side) for side in values)
    changed = augment(pair, how, np.random.default_rng(seed))
    said = sorted(word.text for told in changed for _, words in told for word in words)
    was = sorted(word.text for told in pair for _, words in told for word in words)
    for word in set(said):
        assert said.count(word) <= was.count(word)


def test_what_is_not_known_is_told() -> None:
    with pytest.raises(InputError, match="augment is 'swap', not one of none, span_del"):
        augment(PAIR, "swap", np.random.default_rng(0))
