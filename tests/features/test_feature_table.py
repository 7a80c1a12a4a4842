"""Encoding of declared features: the same encoder for training frames and for requests."""

import numpy as np
import polars as pl
import pytest

from features.errors import InputError
from features.feature_table import FeatureEncoder
from features.schema import Categorical, Id, MultiValued, Numeric, Text, Vector
from features.vocabulary import Vocabulary

ITEMS = pl.DataFrame(
    {
        "item_id": ["a", "b", "c"],
        "brand": ["x", None, "y"],
        "tags": ["red|blue", "", "blue| |blue"],
        "price": [1.0, None, 3.0],
        "title": ["A", "B", "C"],
    }
)
FEATURES = (Id("item_id"), Categorical("brand"), MultiValued("tags"), Numeric("price"), Text("title"))


def _encoder() -> FeatureEncoder:
    return FeatureEncoder.fit(FEATURES, ITEMS, Vocabulary.fit("item_id", ITEMS["item_id"]))


def test_each_kind_is_encoded() -> None:
    encoder = _encoder()
    table = encoder.encode(ITEMS)
    tags = encoder.vocabularies["tags"]
    assert table.sparse["item_id"].values.tolist() == [0, 1, 2]
    assert table.sparse["brand"].lengths.tolist() == [1, 0, 1]
    assert [tags.ids_of(table.sparse["tags"].row(row)).to_list() for row in range(3)] == [
        ["red", "blue"],
        [],
        ["blue", "blue"],
    ]
    np.testing.assert_allclose(table.dense["price"], [-1.0, 0.0, 1.0])
    assert "title" not in table.sparse and "title" not in table.dense


def test_take_gives_the_asked_rows_in_the_asked_order() -> None:
    batch = _encoder().encode(ITEMS).take(np.array([2, 0]))
    assert batch.size == 2
    assert batch.sparse["item_id"].values.tolist() == [2, 0]
    assert batch.sparse["tags"].lengths.tolist() == [2, 2]
    assert batch.dense["price"].tolist() == [1.0, -1.0]


def test_ids_that_training_has_not_seen_are_unknown() -> None:
    table = _encoder().encode(ITEMS, known=np.array([True, False, True]))
    assert table.sparse["item_id"].values.tolist() == [0, -1, 2]
    assert table.sparse["brand"].lengths.tolist() == [1, 0, 1]


def test_a_request_may_lack_columns_and_hold_new_values() -> None:
    request = pl.DataFrame({"brand": ["z"], "tags": [["blue", "green"]]})
    table = _encoder().encode(request)
    assert table.sparse["item_id"].values.tolist() == [-1]
    assert table.sparse["brand"].values.tolist() == [-1]
    assert sorted(table.sparse["tags"].values.tolist()) == [-1, 0]
    assert table.dense["price"].tolist() == [0.0]


@pytest.mark.parametrize(
    ("feature", "frame", "named"),
    [
        (Categorical("brand"), pl.DataFrame({"brand": [1.5]}), "brand"),
        (MultiValued("tags"), pl.DataFrame({"tags": [1]}), "tags"),
        (Numeric("price"), pl.DataFrame({"price": ["cheap"]}), "price"),
    ],
)
def test_a_column_of_the_wrong_type_is_named(feature, frame, named) -> None:
    with pytest.raises(InputError, match=named):
        FeatureEncoder.fit((feature,), frame, Vocabulary.fit("item_id", pl.Series(["a"])))


def test_lists_of_strings_and_of_integers_are_sets_of_values() -> None:
    frame = pl.DataFrame({"tags": [["a", None, "b"], [], None]})
    encoder = FeatureEncoder.fit((MultiValued("tags"),), frame, Vocabulary.fit("item_id", pl.Series(["a"])))
    assert encoder.encode(frame).sparse["tags"].lengths.tolist() == [2, 0, 0]
    numbers = pl.DataFrame({"tags": [[2**60, 2**60 + 1]]})
    encoder = FeatureEncoder.fit((MultiValued("tags"),), numbers, Vocabulary.fit("item_id", pl.Series(["a"])))
    assert encoder.encode(numbers).sparse["tags"].values.tolist() == [0, 1]


def test_vectors_are_a_matrix_as_they_are() -> None:
    encoder = FeatureEncoder.fit(
        (Id("item_id"), Vector("meaning", "v", size=2)), ITEMS, Vocabulary.fit("item_id", ITEMS["item_id"])
    )
    table = encoder.encode(
        ITEMS.with_columns(v=pl.Series([[1.0, 5.0], None, [3.0, 6.0]], dtype=pl.Array(pl.Float32, 2)))
    )
    assert table.dense["meaning"].dtype == np.float32
    assert table.take(np.array([2, 1, 0])).dense["meaning"].tolist() == [[3, 6], [0, 0], [1, 5]]
    assert list(encoder.vocabularies) == ["item_id"] and not encoder.statistics
    of_a_request = encoder.encode(pl.DataFrame({"v": [[1, 2]]}))
    assert of_a_request.dense["meaning"].tolist() == [[1, 2]]
    assert encoder.encode(pl.DataFrame({"brand": ["x"]})).dense["meaning"].tolist() == [[0, 0]]  # nothing is said
    with pytest.raises(InputError, match="'v' holds vectors of 2 numbers, and in row 0 one of 3"):
        encoder.encode(pl.DataFrame({"v": [[1.0, 2.0, 3.0]]}))
