"""Leaving items out of lists: against a loop, for few items and for many."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.batches import JaggedArray
from recsys import rescoring
from recsys.rescoring import without


@pytest.mark.parametrize("few", [0, 1 << 15])
@given(st.integers(0, 10_000), st.integers(0, 5), st.integers(0, 7), st.integers(1, 12))
def test_what_is_left_keeps_its_order(few: int, seed: int, users: int, width: int, items: int) -> None:
    random = np.random.default_rng(seed)
    found = random.integers(-1, items, (users, width))
    skipped = [random.integers(0, items, random.integers(0, 5)).tolist() for _ in range(users + 1)]
    offsets = np.cumsum([0, *map(len, skipped)])
    whole = JaggedArray(np.array([one for row in skipped for one in row], np.int64), offsets)
    skip = JaggedArray(whole.values, whole.offsets[1:])  # one that begins in the middle of its values
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rescoring, "_FEW", few)
        kept = without(found, skip)
    for row, left, gone in zip(found.tolist(), kept.tolist(), skipped[1:], strict=True):
        expected = [one for one in row if one >= 0 and one not in gone]
        assert left == expected + [-1] * (width - len(expected))


def test_nothing_to_skip_changes_nothing() -> None:
    found = np.array([[3, -1, 2]])
    assert without(found, None) is found
    assert without(found, JaggedArray(np.empty(0, np.int64), np.zeros(2, np.int64))).tolist() == [[3, 2, -1]]
