"""Sharing what room there is, against giving one token after another."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.fair_shares import fair_shares


def _one_after_another(lengths: list[int], room: int) -> list[int]:
    """Round after round, a token for each value that wants one more: who stands first is asked first."""
    kept = [0] * len(lengths)
    while room and kept != lengths:
        for n, length in enumerate(lengths):
            if kept[n] < length and room:
                kept[n] += 1
                room -= 1
    return kept


ROWS = st.integers(1, 6).flatmap(
    lambda columns: st.lists(
        st.tuples(st.lists(st.integers(0, 12), min_size=columns, max_size=columns), st.integers(0, 60)), max_size=8
    )
)


@given(ROWS)
def test_shares_are_those_of_one_token_after_another(rows: list[tuple[list[int], int]]) -> None:
    if not rows:
        assert fair_shares(np.zeros((0, 3), np.int64), np.zeros(0, np.int64)).shape == (0, 3)
        return
    lengths = np.array([one for one, _ in rows])
    room = np.maximum([room for _, room in rows], (lengths > 0).sum(axis=1))
    kept = fair_shares(lengths, room)
    assert kept.tolist() == [_one_after_another(*one) for one in zip(lengths.tolist(), room.tolist(), strict=True)]
    assert (kept.sum(axis=1) == np.minimum(lengths.sum(axis=1), room)).all()  # all room is used, and no more


def test_short_values_stay_whole_and_long_ones_are_level() -> None:
    lengths = np.array([[3, 500, 4, 700], [3, 4, 0, 9]])
    assert fair_shares(lengths, np.array([108, 16])).tolist() == [[3, 51, 4, 50], [3, 4, 0, 9]]
