"""What `Dataset` lets in, and the one sentence that it says about what it does not."""

from datetime import date, datetime

import polars as pl
import pytest

from features.dataset import Dataset
from features.errors import InputError
from features.schema import Categorical, FeatureSchema, Id, MultiValued, Numeric, Sequence, Text, Vector
from features.sources.tables import load, write_tables

LOG = pl.DataFrame({"user_id": ["u1", "u2", "u1"], "item_id": [7, 8, 7], "timestamp": [3, 1, 2]})
ITEMS = pl.DataFrame({"item_id": [8, 7, 9], "title": ["Tea", "Ink", "Pen"], "price": [1.0, 2.0, None]})


def _with(**columns) -> pl.DataFrame:
    return LOG.with_columns(**{name: pl.Series(values) for name, values in columns.items()})


def test_tables_come_out_in_canonical_types() -> None:
    log = _with(user_id=pl.Series(["a", "b", "a"], dtype=pl.Categorical), item_id=pl.Series([1, 2, 1], dtype=pl.UInt8))
    dataset = Dataset.construct("x", log.select("timestamp", "item_id", "user_id", weight=pl.lit(1.0)))
    assert dataset.interactions.columns == ["user_id", "item_id", "timestamp", "weight"]
    assert list(dataset.interactions.dtypes[:3]) == [pl.String, pl.Int64, pl.Int64]
    assert dataset.users["user_id"].to_list() == ["a", "b"]
    assert dataset.items["item_id"].to_list() == [1, 2]
    assert repr(dataset) == "Dataset('x': 3 interactions of 2 users with 2 items)"


@pytest.mark.parametrize(
    ("times", "first"),
    [
        ([datetime(1970, 1, 1, 0, 0, 1)] * 3, 1_000_000),
        ([date(1970, 1, 2)] * 3, 86_400_000_000),
        (pl.Series([datetime(1970, 1, 1, 0, 0, 2)] * 3, dtype=pl.Datetime("ms", "UTC")), 2_000_000),
        (pl.Series([5, 5, 5], dtype=pl.Int16), 5),
    ],
)
def test_times_become_integers(times, first: int) -> None:
    assert Dataset.construct("x", _with(timestamp=times)).interactions["timestamp"][0] == first


def test_orphans_are_counted_and_get_a_line() -> None:
    dataset = Dataset.construct("x", _with(item_id=[7, 99, 7]), ITEMS, pl.DataFrame({"user_id": ["u2", "u3"]}))
    assert dataset.orphans == 3  # of u1 two, of item 99 one, and none twice
    assert dataset.items["item_id"].to_list() == [8, 7, 9, 99]
    assert dataset.items["title"].to_list()[-1] is None
    assert dataset.users["user_id"].to_list() == ["u2", "u3", "u1"]
    assert "3 orphans" in repr(dataset)


def test_orphans_can_be_an_error() -> None:
    with pytest.raises(InputError, match=r"1 of 3 .* an item_id that the items lack, such as 99 \(row 1\)"):
        Dataset.construct("x", _with(item_id=[7, 99, 7]), ITEMS, on_orphans="error")
    with pytest.raises(InputError, match="have a user_id that the users lack, such as 'u1'"):
        Dataset.construct("x", LOG, users=pl.DataFrame({"user_id": ["u2"]}), on_orphans="error")
    with pytest.raises(InputError, match="'maybe'"):
        Dataset.construct("x", LOG, on_orphans="maybe")


@pytest.mark.parametrize(
    ("log", "items", "message"),
    [
        (LOG.drop("item_id"), None, "the interactions have no column 'item_id'; their columns are user_id, timestamp"),
        (LOG.drop("timestamp"), None, "the interactions have no column 'timestamp'"),
        (LOG[:0], None, "the interactions are empty"),
        (_with(item_id=[7.0, 8.0, 7.0]), None, "the interactions: column 'item_id' holds Float64 ids"),
        (_with(user_id=[True, True, False]), None, "column 'user_id' holds Boolean"),
        (
            _with(user_id=["a", None, None]),
            None,
            "column 'user_id' of the interactions is null in 2 of 3 rows, first in row 1",
        ),
        (
            _with(timestamp=[1, 2, None]),
            None,
            "column 'timestamp' of the interactions is null in 1 of 3 rows, first in row 2",
        ),
        (_with(timestamp=["x", "y", "z"]), None, "column 'timestamp' of the interactions holds String, such as 'x'"),
        (_with(timestamp=[1.5, 2.0, 3.0]), None, "column 'timestamp' of the interactions holds Float64, such as 1.5"),
        (LOG, ITEMS.drop("item_id"), "the items have no column 'item_id'"),
        (LOG, ITEMS[:0], "the items are empty"),
        (
            LOG,
            pl.concat([ITEMS, ITEMS[:1], ITEMS[:1]]),
            "column 'item_id' of the items holds 1 ids more than once, such as 8 .3 times.",
        ),
        (
            LOG,
            ITEMS.with_columns(item_id=pl.Series([8, None, 9])),
            "column 'item_id' of the items is null in 1 of 3 rows",
        ),
        (
            LOG,
            ITEMS.with_columns(pl.col("item_id").cast(pl.String)),
            "column 'item_id' holds Int64 in the interactions .7. and String in the items .'8'.",
        ),
        ([1, 2], None, "the interactions are a list"),
    ],
)
def test_bad_tables_are_told_in_one_sentence(log, items, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Dataset.construct("x", log, items)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        (
            Numeric("cost"),
            "the feature 'cost' reads column 'cost', which the items lack; their columns are item_id, title",
        ),
        (Numeric("title"), "column 'title' of the items is declared numeric and holds String, such as 'Tea'"),
        (Categorical("price"), "column 'price' of the items is declared categorical and holds Float64"),
        (MultiValued("price"), "declared multi_valued and holds Float64"),
        (Text("price"), "declared text and holds Float64"),
        (Text("empty"), "declared text and holds Float64"),
        (Numeric("tags"), r"declared numeric and holds List\(String\), such as \['hot'\]"),
        (Vector("title"), "declared vector and holds String, such as 'Tea'"),
        (Vector("price"), "declared vector and holds Float64, such as 1.0"),
        (Vector("tags"), "declared vector and holds List"),
        (Vector("numbers"), "column 'numbers' holds vectors of 2 numbers, and in row 1 one of 1"),
        (Vector("numbers", size=3), "column 'numbers' holds vectors of 3 numbers, and in row 0 one of 2"),
        (Id("title"), "the id feature 'title' of the items reads 'title', not item_id|reads 'title', not 'item_id'"),
    ],
)
def test_declared_features_must_fit_their_columns(feature, message: str) -> None:
    items = ITEMS.with_columns(
        tags=pl.Series([["hot"], None, []], dtype=pl.List(pl.String)),
        numbers=pl.Series([[1.0, 2.0], [3.0], None]),
        empty=pl.lit(None, dtype=pl.Float64),
    )
    with pytest.raises(InputError, match=message) as caught:
        Dataset.construct("x", LOG, items, schema=FeatureSchema(user=(Sequence("history"),), item=(feature,)))
    assert "\n" not in str(caught.value)


def test_a_declared_column_may_be_all_null() -> None:
    items = ITEMS.with_columns(colour=pl.lit(None))
    schema = FeatureSchema(user=(Sequence("history"),), item=(Id("item_id"), Categorical("colour")))
    assert Dataset.construct("x", LOG, items, schema=schema).items["colour"].null_count() == 3


def test_the_hash_is_of_the_content() -> None:
    dataset = Dataset.construct("x", LOG, ITEMS)
    chunked = pl.concat([LOG[:1], LOG[1:]], rechunk=False)
    assert Dataset.construct("y", chunked, ITEMS).sha256 == dataset.sha256
    different = [
        Dataset.construct("x", LOG[::-1], ITEMS),  # ties in time are told apart by the order of lines
        Dataset.construct("x", LOG, ITEMS.with_columns(title=pl.lit("Tea"))),
        Dataset.construct("x", LOG, ITEMS, pl.DataFrame({"user_id": ["u1", "u2", "u3"]})),
        Dataset.construct("x", LOG.with_columns(pl.col("item_id").cast(pl.String))),
        Dataset.construct("x", LOG),
    ]
    assert len({dataset.sha256, *(one.sha256 for one in different)}) == 6


VECTORS = pl.Series("text_vector", [[1.0, 2.0], None, [3, 4]], dtype=pl.List(pl.Float64))


def _speaking() -> Dataset:
    return Dataset.construct("x", LOG, ITEMS).with_vectors(VECTORS, "meaning")


def test_items_get_vectors_and_are_another_data_set() -> None:
    silent, speaking = Dataset.construct("x", LOG, ITEMS), _speaking()
    assert speaking.schema.vector == Vector("meaning", "text_vector", 2)
    assert speaking.items["text_vector"].to_list() == [[1, 2], None, [3, 4]]
    assert silent.schema.vector is None and "text_vector" not in silent.items.columns
    assert speaking.sha256 != silent.sha256
    others = Dataset.construct("x", LOG, ITEMS).with_vectors(pl.Series("text_vector", [[1.0, 2.0], None, [3.0, 5.0]]))
    assert others.schema.vector.name == "text_vector"
    assert others.sha256 != speaking.sha256


def test_declared_vectors_say_how_long_they_are() -> None:
    schema = FeatureSchema(item=(Id("item_id"), Vector("v", "numbers"), Text("title")))
    items = ITEMS.with_columns(numbers=pl.Series([[1, 2, 3], None, [4, 5, 6]]))
    dataset = Dataset.construct("x", LOG, items, schema=schema)
    assert dataset.schema.item == (Id("item_id"), Vector("v", "numbers", 3), Text("title"))
    assert dataset.items.schema["numbers"] == pl.Array(pl.Float32, 3)
    assert dataset.items.columns == items.columns


def test_vectors_survive_files(tmp_path) -> None:
    dataset = _speaking()
    write_tables(dataset, tmp_path / "tables")
    loaded = load(tmp_path / "tables")
    assert loaded.schema.item == dataset.schema.item
    assert loaded.items["text_vector"].equals(dataset.items["text_vector"])


@pytest.mark.parametrize(
    ("vectors", "feature", "message"),
    [
        (VECTORS.alias("title"), None, "the items have a column 'title' already"),
        (VECTORS.alias("other"), "other", "more than one feature of kind 'vector'"),
        (VECTORS.head(1).alias("other"), "other", "there are 1 vectors for 3 items"),
    ],
)
def test_vectors_that_items_cannot_have(vectors, feature, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _speaking().with_vectors(vectors, feature)
    with pytest.raises(InputError, match="'item_id' is declared 2 times"):
        Dataset.construct("x", LOG, ITEMS).with_vectors(VECTORS, "item_id")


def test_new_items_are_items_that_nobody_has_taken() -> None:
    dataset = Dataset.construct("x", LOG, ITEMS)
    grown = dataset.with_new_items({10: {"title": "Jam", "price": 3, "shelf": 4}, 8: {"title": "Not tea"}, 11: {}})
    assert grown.items.rows() == [*ITEMS.rows(), (10, "Jam", 3.0), (11, None, None)]
    assert grown.interactions.equals(dataset.interactions)
    assert grown.sha256 != dataset.sha256
    assert dataset.with_new_items({}).sha256 == dataset.sha256 == dataset.with_new_items({8: {}}).sha256


def test_what_is_derived_makes_no_other_data_set() -> None:
    """The vectors of texts differ in their last digits from machine to machine."""
    silent = Dataset.construct("x", LOG, ITEMS)
    speaking = silent.with_vectors(VECTORS, "meaning", derived=True)
    assert speaking.schema.vector.size == 2
    assert speaking.sha256 == silent.sha256 == silent.with_vectors(VECTORS.reverse(), derived=True).sha256
    assert speaking.with_new_items({10: {}}).sha256 == silent.with_new_items({10: {}}).sha256 != silent.sha256


def test_new_items_bring_vectors_that_are_checked() -> None:
    grown = _speaking().with_new_items({10: {"text_vector": [5, 6]}, 11: {"title": "Jam"}})
    assert grown.items["text_vector"].to_list() == [[1, 2], None, [3, 4], [5, 6], None]
    assert grown.schema.vector.size == 2
    for vector in ([1.0], [1.0, float("nan")], "1, 2"):
        with pytest.raises(InputError, match="text_vector"):
            _speaking().with_new_items({10: {"text_vector": vector}})
