import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.batches import JaggedArray
from features.errors import InputError
from features.negatives import Negatives

SEEN = st.lists(st.lists(st.integers(0, 6), max_size=6), min_size=1, max_size=5)


@given(SEEN, st.integers(0, 2**32))
def test_only_unseen_items_are_drawn(seen: list[list[int]], seed: int) -> None:
    rows = np.repeat(np.arange(len(seen)), [len(one) for one in seen])
    jagged = JaggedArray.from_pairs(rows, np.array([item for one in seen for item in one], np.int64), len(seen))
    users = np.random.default_rng(seed).integers(len(seen), size=50)
    items = Negatives.of(jagged, 7).draw(users, np.random.default_rng(seed))
    assert all(0 <= item < 7 and item not in seen[user] for user, item in zip(users, items, strict=True))


def test_the_one_item_left_of_many_is_found() -> None:
    seen = JaggedArray.from_pairs(np.zeros(4999, np.int64), np.delete(np.arange(5000), 1234), 1)
    assert Negatives.of(seen, 5000).draw(np.zeros(3, np.int64), np.random.default_rng(0)).tolist() == [1234] * 3


def test_draws_keep_to_the_candidates_and_fail_where_none_is_left() -> None:
    seen = JaggedArray.from_pairs(np.array([0, 1, 1]), np.array([3, 3, 5]), 2)
    negatives = Negatives.of(seen, 9, candidates=np.array([3, 5]))
    assert negatives.draw(np.array([0, 0]), np.random.default_rng(0)).tolist() == [5, 5]
    with pytest.raises(InputError, match="the user of row 1 has seen every item"):
        negatives.draw(np.array([0, 1]), np.random.default_rng(0))
