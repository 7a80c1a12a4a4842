"""What is still to be labelled."""

import numpy as np
import polars as pl
import pytest

from features.record_pairs import RecordPairs
from features.records import Records
from training.matching.labelling import without


@pytest.mark.parametrize(("one_table", "left"), [(True, [1]), (False, [0, 1])])
def test_a_pair_that_is_labelled_is_not_asked_for_again(one_table: bool, left: list[int]) -> None:
    shop = Records.of("shop", pl.DataFrame({"id": [7, 8, 9], "name": ["tea", "ink", "cup"]}))
    other = shop if one_table else Records.of("other", pl.DataFrame({"id": [7, 8, 9], "name": ["a", "b", "c"]}))
    pairs = RecordPairs(shop, other, np.array([0, 0, 1]), np.array([1, 2, 2]))
    labelled = pl.DataFrame({"left_id": ["8", "8"], "right_id": ["7", "9"], "label": [1, 0]})  # one is turned round
    assert without(pairs, labelled) == left
    assert without(pairs, labelled.clear()) == [0, 1, 2]
