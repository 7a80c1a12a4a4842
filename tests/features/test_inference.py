"""What is declared of tables that come without a declaration."""

from datetime import date

import polars as pl

from features.inference import infer_schema


def test_vectors_are_for_those_who_declare_them() -> None:
    items = pl.DataFrame(
        {
            "item_id": [1, 2],
            "vector": [[0.5, 1.0], [1.0, 0.5]],
            "array": pl.Series([[1.0], [2.0]], dtype=pl.Array(pl.Float32, 1)),
            "tags": [["a"], ["b"]],
            "nested": [[["a"]], [["b"]]],
            "since": [date(2020, 1, 1)] * 2,
            "nothing": [None, None],
        }
    )
    assert [one.name for one in infer_schema(items, None).item] == ["item_id", "tags"]
    assert infer_schema(items, None).vector is None
