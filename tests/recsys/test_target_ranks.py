"""The integer keys that hold the order of a ranking."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from recsys.target_ranks import order_keys

any_score = st.floats(width=32, allow_nan=False) | st.sampled_from([0.0, -0.0, float("inf"), float("-inf")])


@given(st.tuples(any_score, st.integers(0, 2**32 - 1)), st.tuples(any_score, st.integers(0, 2**32 - 1)))
def test_keys_compare_as_score_descending_then_row_ascending(one, other):
    scores = torch.tensor([one[0], other[0]], dtype=torch.float32)
    keys = order_keys(scores, torch.tensor([one[1], other[1]])).tolist()
    pairs = [(-float(np.float32(score)), row) for score, row in (one, other)]
    assert (keys[0] < keys[1]) == (pairs[0] < pairs[1])
    assert (keys[0] == keys[1]) == (pairs[0] == pairs[1])
