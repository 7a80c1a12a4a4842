"""The declared features of all users, or of all items, as arrays; fitted once, then applied to any frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import torch

from features.batches import FeatureBatch, JaggedArray
from features.errors import InputError
from features.schema import Categorical, Feature, Id, MultiValued, Numeric, Vector
from features.vectors import vector_matrix
from features.vocabulary import Vocabulary


@dataclass(frozen=True)
class FeatureTable:
    """Encoded features of n users or n items.

    Args:
        sparse: Feature name to vocabulary rows, jagged; -1 for values that the encoder does not know.
        dense: Feature name to standardised numbers, (n,) float32, or to vectors, (n, V) float32.
        size: n
        known: Which of them training has seen; all where that is not told. (n,) bool
    """

    sparse: dict[str, JaggedArray]
    dense: dict[str, np.ndarray]
    size: int
    known: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> FeatureBatch:
        """The features of the given rows, in the given order. (B,) -> B rows"""
        return FeatureBatch(
            sparse={name: values.take(rows) for name, values in self.sparse.items()},
            dense={name: torch.from_numpy(values[rows]) for name, values in self.dense.items()},
            size=len(rows),
        )


@dataclass(frozen=True)
class FeatureEncoder:
    """Turns a frame of users or items into a `FeatureTable`. The same object serves training and requests.

    Args:
        features: What is declared for this side.
        vocabularies: One for the id and for each categorical or multi-valued feature.
        statistics: Mean and standard deviation of each numeric feature.
    """

    features: tuple[Feature, ...]
    vocabularies: dict[str, Vocabulary]
    statistics: dict[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def fit(cls, features: Iterable[Feature], frame: pl.DataFrame, entity: Vocabulary) -> FeatureEncoder:
        """Learns vocabularies and statistics.

        Args:
            features: What is declared for this side.
            frame: One row an entity.
            entity: The vocabulary of the entity's own ids, used for the feature of kind `Id`.

        Raises:
            InputError: A column of a type that its declared kind cannot take.
        """
        features = tuple(features)
        vocabularies: dict[str, Vocabulary] = {}
        statistics: dict[str, tuple[float, float]] = {}
        for feature in features:
            if isinstance(feature, Id):
                vocabularies[feature.name] = entity
            elif isinstance(feature, Categorical | MultiValued):
                _, values = values_of(feature, frame)
                vocabularies[feature.name] = Vocabulary.fit(feature.name, values)
            elif isinstance(feature, Numeric):
                numbers = numbers_of(feature, frame)
                finite = numbers[np.isfinite(numbers)]
                mean, deviation = (float(finite.mean()), float(finite.std())) if len(finite) else (0.0, 1.0)
                statistics[feature.name] = (mean, deviation or 1.0)
        return cls(features, vocabularies, statistics)

    def encode(self, frame: pl.DataFrame, known: np.ndarray | None = None) -> FeatureTable:
        """Encodes a frame that has the declared columns; a column that the frame lacks counts as all null.

        Args:
            frame: One row an entity. (n rows)
            known: Which entities training has seen; the ids of the others become unknown (-1), because an id
                embedding that was never trained is noise. (n,) bool

        Raises:
            InputError: A column of a type that its declared kind cannot take, or of vectors of another width.
        """
        sparse: dict[str, JaggedArray] = {}
        dense: dict[str, np.ndarray] = {}
        for feature in self.features:
            if isinstance(feature, Id):
                rows = np.full(frame.height, -1)  # whoever it is, an entity has an id
                if feature.column in frame.columns:
                    rows = self.vocabularies[feature.name].rows(frame[feature.column])
                rows = rows if known is None else np.where(known, rows, -1)
                sparse[feature.name] = JaggedArray(rows, np.arange(frame.height + 1))
            elif isinstance(feature, Categorical | MultiValued):
                where, values = values_of(feature, frame)
                rows = self.vocabularies[feature.name].rows(values)
                sparse[feature.name] = JaggedArray.from_pairs(where, rows, frame.height)
            elif isinstance(feature, Vector):
                dense[feature.name] = _vectors(feature, frame)
            elif isinstance(feature, Numeric):
                mean, deviation = self.statistics[feature.name]
                numbers = (numbers_of(feature, frame) - mean) / deviation
                # a number that is missing is the mean
                dense[feature.name] = np.where(np.isfinite(numbers), numbers, 0.0).astype(np.float32)
        return FeatureTable(sparse, dense, frame.height, known)


def values_of(feature: Feature, frame: pl.DataFrame) -> tuple[np.ndarray, pl.Series]:
    """The (row, value) pairs of a categorical or multi-valued feature, nulls and empty strings left out. (nnz,) each

    Raises:
        InputError: A column of a type that its declared kind cannot take.
    """
    if feature.column not in frame.columns:
        return np.empty(0, np.int64), pl.Series(feature.column, [], dtype=pl.String)
    column = frame[feature.column]
    if isinstance(feature, MultiValued):
        if column.dtype == pl.String:
            column = column.str.split(feature.separator)
        if column.dtype.base_type() not in (pl.List, pl.Array):
            raise InputError(
                f"column {feature.column!r} is declared multi-valued and holds {column.dtype}, "
                "not lists or separated strings"
            )
    pairs = pl.DataFrame({"row": np.arange(frame.height, dtype=np.int64), "value": column})
    if isinstance(feature, MultiValued):
        pairs = pairs.explode("value")
    pairs = pairs.with_columns(_canonical(feature, pairs["value"])).drop_nulls()
    return pairs["row"].to_numpy(), pairs["value"]


def _canonical(feature: Feature, values: pl.Series) -> pl.Series:
    """As Int64 or String, the two types that a vocabulary holds."""
    if values.dtype.is_integer():
        return values.cast(pl.Int64)
    if values.dtype in (pl.Categorical, pl.Enum, pl.Boolean, pl.Null):
        return values.cast(pl.String)
    if values.dtype == pl.String:
        values = values.str.strip_chars() if isinstance(feature, MultiValued) else values
        return values.set(values == "", None)
    raise InputError(
        f"column {feature.column!r} is declared {feature.kind} and holds {values.dtype}, not strings or integers"
    )


def numbers_of(feature: Feature, frame: pl.DataFrame) -> np.ndarray:
    """A numeric feature as float64, nulls as NaN. (n,)

    Raises:
        InputError: A column of another type.
    """
    if feature.column not in frame.columns:
        return np.full(frame.height, np.nan)
    column = frame[feature.column]
    if not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)):
        bad = column.filter(column.is_not_null() & column.cast(pl.Float64, strict=False).is_null())
        example = f", such as {bad[0]!r}" if len(bad) else ""
        raise InputError(f"column {feature.column!r} is declared numeric and holds {column.dtype}{example}")
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy()


def _vectors(feature: Vector, frame: pl.DataFrame) -> np.ndarray:
    """A vector feature as a matrix, nulls as zeros. (n, V) float32"""
    if feature.column not in frame.columns:
        return np.zeros((frame.height, feature.size), np.float32)
    return vector_matrix(frame[feature.column], feature.size)
