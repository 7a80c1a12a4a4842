"""What is declared of users and items, against the columns that they have."""

from __future__ import annotations

import dataclasses

import polars as pl

from features.errors import InputError
from features.schema import Feature, FeatureSchema, Id, MultiValued, Numeric, Sequence, Text, Vector
from features.vectors import holds_vectors, vector_column


def check_features(table: str, features: tuple[Feature, ...], frame: pl.DataFrame) -> None:
    """Refuses features whose column is not there, or is of a type that their kind cannot take.

    Args:
        table: What the error calls the frame: "users" or "items".
        features: What is declared for them.
        frame: One row an entity, its id the first column.

    Raises:
        InputError: Names the feature, and its column.
    """
    for feature in features:
        if isinstance(feature, Sequence):  # made from the interactions
            continue
        if feature.column not in frame.columns:
            raise InputError(
                f"the feature {feature.name!r} reads column {feature.column!r}, which the {table} lack; "
                f"their columns are {', '.join(frame.columns)}"
            )
        dtype = frame.schema[feature.column]
        if isinstance(feature, Id) and feature.column != frame.columns[0]:
            raise InputError(
                f"the id feature {feature.name!r} of the {table} reads {feature.column!r}, not {frame.columns[0]!r}"
            )
        if dtype != pl.Null and not _takes(feature, dtype):
            raise InputError(
                f"column {feature.column!r} of the {table} is declared {feature.kind} and holds {dtype}"
                f"{such_as(frame[feature.column])}"
            )


def with_checked_vectors(items: pl.DataFrame, schema: FeatureSchema) -> tuple[pl.DataFrame, FeatureSchema]:
    """The items with their declared vectors in one type, and the declaration that says how long they are.

    Args:
        items: One row an item. (n rows)
        schema: Perhaps without a vector, which leaves both as they are.

    Raises:
        InputError: Vectors that cannot be used, see `features.vectors.vector_column`.
    """
    vector = schema.vector
    if vector is None:
        return items, schema
    column = vector_column(items[vector.column], vector.size)
    assert isinstance(column.dtype, pl.Array)
    sized = dataclasses.replace(vector, size=column.dtype.size)
    declared = tuple(sized if one is vector else one for one in schema.item)
    return items.with_columns(column), FeatureSchema(schema.user, declared)


def such_as(values: pl.Series) -> str:
    """A value that explains why a column has the type it has, for an error's end; "" where it has none.

    In a column of text, the first that is no number.

    Example:
        >>> such_as(pl.Series(["1", "two", "3"]))
        ", such as 'two'"
    """
    there = values.drop_nulls()
    if there.dtype == pl.String:
        odd = there.filter(there.cast(pl.Float64, strict=False).is_null())
        there = odd if len(odd) else there
    example = there.head(1).to_list()
    return f", such as {repr(example[0])[:60]}" if example else ""


def _takes(feature: Feature, dtype: pl.DataType) -> bool:
    discrete = dtype.is_integer() or dtype == pl.Boolean or isinstance(dtype, pl.String | pl.Categorical | pl.Enum)
    if isinstance(feature, Numeric):
        return dtype.is_numeric() or dtype == pl.Boolean
    if isinstance(feature, Text):
        return isinstance(dtype, pl.String | pl.Categorical | pl.Enum)
    if isinstance(feature, MultiValued):
        inner = dtype.inner if isinstance(dtype, pl.List | pl.Array) else None
        return dtype == pl.String or (inner is not None and (inner in (pl.String, pl.Null) or inner.is_integer()))
    return holds_vectors(dtype) if isinstance(feature, Vector) else discrete
