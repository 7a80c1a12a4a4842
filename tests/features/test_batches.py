"""Jagged arrays against plain lists, and batches that move as a whole."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from features.batches import FeatureBatch, Jagged, JaggedArray, TrainingBatch

ROWS = st.lists(st.lists(st.integers(-1, 2**62), max_size=5), max_size=8)


def _array(rows: list[list[int]]) -> JaggedArray:
    values = np.array([value for row in rows for value in row], dtype=np.int64)
    return JaggedArray(values, np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64))


@given(ROWS, st.data())
def test_take_is_what_a_loop_would_take(rows: list[list[int]], data) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=12)) if rows else []
    taken = _array(rows).take(np.array(chosen, dtype=np.int64))
    assert taken.lengths.tolist() == [len(rows[row]) for row in chosen]
    assert taken.values.tolist() == [value for row in chosen for value in rows[row]]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2**62)), max_size=20))
def test_pairs_are_grouped_in_their_order(pairs: list[tuple[int, int]]) -> None:
    rows, values = (np.array(column, dtype=np.int64) for column in (zip(*pairs, strict=True) if pairs else ([], [])))
    array = JaggedArray.from_pairs(rows, values, 5)
    assert [array.row(row).tolist() for row in range(5)] == [[v for r, v in pairs if r == row] for row in range(5)]


def test_a_batch_moves_as_a_whole() -> None:
    jagged = Jagged(torch.tensor([1, 2]), torch.tensor([2, 0]))
    batch = TrainingBatch(
        FeatureBatch({"history": jagged}, {"age": torch.tensor([0.5, 1.0])}, 2), jagged, jagged, torch.tensor([4, 5])
    )
    moved = batch.to(device="meta", non_blocking=True)
    tensors = [
        moved.users.sparse["history"].values,
        moved.users.dense["age"],
        moved.targets.lengths,
        moved.others.values,
    ]
    assert all(tensor.is_meta for tensor in [*tensors, moved.user_rows])
    assert moved.users.size == 2
    assert not batch.targets.values.is_meta
