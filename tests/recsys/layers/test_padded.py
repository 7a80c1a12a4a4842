"""Padded groups: values go there and come back, and little of them is padding."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from recsys.layers.padded import PaddedGroups


@given(st.lists(st.integers(0, 300), max_size=40))
def test_values_come_back_as_they_went(lengths: list[int]) -> None:
    groups = PaddedGroups.of(torch.tensor(lengths, dtype=torch.int64))
    values = torch.randn(sum(lengths), 2, dtype=torch.float64)
    padded = groups.padded(values)
    if sum(lengths):
        assert torch.equal(groups.flat(padded), values)
    assert [tuple(one.shape[:2]) for one in padded] == groups.shapes
    assert sum(rows for rows, _ in groups.shapes) == sum(length > 0 for length in lengths)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=40))
def test_a_row_is_padded_by_a_third_or_by_sixteen_places_at_most(lengths: list[int]) -> None:
    groups = PaddedGroups.of(torch.tensor(lengths))
    assert sum(rows * places for rows, places in groups.shapes) <= sum(max(4 / 3 * one, one + 16) for one in lengths)


def test_each_row_stands_at_the_beginning_of_a_padded_row() -> None:
    lengths = torch.tensor([2, 30, 0, 5])
    row_of = torch.repeat_interleave(lengths)
    padded = PaddedGroups.of(lengths).padded(torch.stack([row_of, torch.arange(len(row_of))], dim=1))
    found = {}
    for group in padded:
        for row in group:
            owner = int(row[0, 0])
            found[owner] = row[: int(lengths[owner]), 1].tolist()
    starts = np.cumsum(lengths.numpy()) - lengths.numpy()
    assert found == {row: list(range(starts[row], starts[row] + int(lengths[row]))) for row in (0, 1, 3)}
