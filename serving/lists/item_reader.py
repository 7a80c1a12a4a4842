"""What is said of an item that has come since the model was built, as the vector that the model makes of it.

The same declared features and the same texts are read as in training; the id is an unknown one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from polars.datatypes import DataTypeClass

from features.added_items import attribute_column
from features.errors import InputError
from features.feature_table import FeatureTable
from features.schema import Feature, FeatureSchema, Id, Numeric, Vector
from recsys.retrievers import RetrieverConfig, encode_catalogue
from recsys.sequential_config import SequentialConfig, item_features
from serving.bundles.bundle import Bundle
from serving.bundles.item_texts import can_be_said
from serving.lists.item_columns import ItemColumns
from serving.lists.raw_ids import FieldError
from serving.lists.shelf import Placed

#: how many times as long as the catalogue's longest vector a new one may be: beyond, some number is out of all
#: proportion, and the item would be the first or the last for everybody
_LONGEST = 1000.0


@dataclass(frozen=True)
class ItemsRead:
    """What a model makes of n items.

    Args:
        placed: Their vectors and titles. (n,)
        refused: Of those that have no place, by number, why not: what follows "items[3]" in a sentence.
    """

    placed: list[Placed]
    refused: dict[int, str]


class ItemReader:
    """Reads items as a bundle's model does. Not to be shared between threads, which would load a language model each.

    Args:
        bundle: Whose model it is.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._features = _read_features(bundle.model.config, bundle.schema)
        vector, table = bundle.schema.vector, bundle.item_table.schema
        self._filtered = ItemColumns(bundle.schema.item, bundle.item_table).kinds
        self._text = bundle.text if vector in self._features else None
        types = {} if bundle.text is None else dict(bundle.text.types)
        types |= {one.column: table[one.column] for one in bundle.schema.item if one.column in table}
        types.pop("item_id", None)
        if bundle.text is not None and vector is not None:
            types.pop(vector.column, None)  # which is made of the others
        #: what can be said of an item: the columns of what this model reads, and of what it passes on, such as titles
        self.columns = {name: dtype for name, dtype in types.items() if can_be_said(dtype)}

    @property
    def reads_items(self) -> bool:
        """Whether anything but its id tells the model of an item."""
        return bool(self._features)

    def read(self, said: Sequence[Mapping[str, Any]], again: bool = False) -> ItemsRead:
        """What becomes of items of which so much is said.

        Args:
            said: Attributes by column. (n,)
            again: They may have been read before, and what their texts were is looked up.

        Raises:
            FieldError: A value that its column cannot hold.
            InputError: The language model is not here, or is another one than the bundle's.
        """
        frame = self.frame(said)
        if self._text is not None:
            read, vector = self._text.kept_vectors if again else self._text.vectors, self._bundle.schema.vector
            assert vector is not None  # what texts become
            frame = frame.with_columns(read(frame).alias(vector.column))
        longest = _LONGEST * max(self._bundle.index.max_norm, 1.0)
        with np.errstate(over="ignore", invalid="ignore"):
            encoded = self._encoded(frame)
            vectors = encode_catalogue(self._bundle.model, encoded).numpy()
            sound = np.linalg.norm(vectors.astype(np.float64), axis=1) <= longest  # which NaN is not
        refused = dict.fromkeys(np.flatnonzero(~sound).tolist(), "has a number that is out of all proportion")
        nothing = "says nothing that this model knows, so it has no place"
        refused |= dict.fromkeys(np.flatnonzero(~self._told(frame, encoded)).tolist(), nothing)
        column = self._bundle.title_column
        titles = frame[column].cast(pl.String).to_list() if column in frame.columns else [None] * len(said)
        told = frame.select(one for one in self._filtered if one in frame.columns).to_dicts()
        return ItemsRead([Placed(*one) for one in zip(vectors, titles, told or [{}] * len(said), strict=True)], refused)

    def frame(self, said: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
        """What is said of n items as columns, of the types that the catalogue's have, null where nothing is. (n rows)

        Raises:
            FieldError: A value that its column cannot hold.
        """
        columns = [_column(name, [one.get(name) for one in said], dtype) for name, dtype in self.columns.items()]
        return pl.DataFrame([pl.Series("", np.zeros(len(said), np.int8)), *columns])

    def _encoded(self, frame: pl.DataFrame) -> FeatureTable:
        try:
            return self._bundle.item_encoder.encode(frame, known=np.zeros(frame.height, bool))
        except InputError as error:  # numbers of a vector that are none
            raise FieldError(f"items: {error}", "items") from None

    def _told(self, frame: pl.DataFrame, encoded: FeatureTable) -> np.ndarray:
        """Of which items something is said that the model knows. (n,) bool"""
        told = np.zeros(encoded.size, bool)
        for feature in self._features:
            if isinstance(feature, Vector):
                told |= encoded.dense[feature.name].any(axis=1)
            elif isinstance(feature, Numeric):
                if feature.column in frame.columns:  # 0 is the mean here, whether it is said or not
                    numbers = frame[feature.column].cast(pl.Float64)
                    told |= numbers.is_finite().fill_null(False).to_numpy()
            else:
                values = encoded.sparse[feature.name]
                told |= values.only(values.values >= 0).lengths > 0
        return told


def _read_features(config: RetrieverConfig, schema: FeatureSchema) -> list[Feature]:
    """The declared features, the id apart, that an item's vector follows from."""
    features: list[Feature] = []
    if isinstance(config, SequentialConfig):
        features = item_features(config, schema)
    elif config.fusion.learns_items:
        features = [one for one in schema.item if one.embedded or isinstance(one, Numeric)]
    features = [one for one in features if not isinstance(one, Id)]
    vector = schema.vector if config.fusion.reads_text else None
    return features if vector is None else [*features, vector]


def _column(name: str, values: list[Any], dtype: pl.DataType) -> pl.Series:
    """Values of items as a column of the catalogue's type. (n,)"""
    column = _as(name, values, dtype)
    if column is not None:
        return column
    n = next((n for n, value in enumerate(values) if _as(name, [value], dtype) is None), 0)
    raise FieldError(
        f"items[{n}] has the {name} {values[n]!r:.60}, and the catalogue's are {_plain(dtype)}",
        *("items", n, "attributes", name),
    )


def _as(name: str, values: list[Any], dtype: pl.DataType) -> pl.Series | None:
    """Values as a column, as the next build will read them; None where one of them is of another type."""
    try:
        return attribute_column(name, values, dtype)
    except InputError:
        return None


def _plain(dtype: pl.DataType | DataTypeClass) -> str:
    """A type in words."""
    if isinstance(dtype, pl.List | pl.Array):
        size = f"{dtype.size} " if isinstance(dtype, pl.Array) else ""
        return f"lists of {size}{_plain(dtype.inner)}"
    if dtype.is_integer():
        return "integers"
    if dtype.is_numeric():
        return "numbers"
    if dtype.is_temporal():
        return "dates or times of ISO 8601"
    if isinstance(dtype, pl.Enum):
        return f"one of {len(dtype.categories)} strings"
    return "true or false" if dtype == pl.Boolean else "strings"
