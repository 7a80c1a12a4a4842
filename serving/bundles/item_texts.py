"""How a bundle's model reads the texts of items: what is told of them, and the language model, or where to get it.

A language model that has a public name is not copied into every bundle: its name is written down, with a hash that
tells whether what is found under that name is the same. One that lies in a folder, such as one that was trained on the
project's own data, is carried along.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from polars.datatypes import DataTypeClass

from features.errors import InputError
from recsys.text_encoders import ItemTextConfig
from serving.bundles.manifest import TEXT
from serving.bundles.sealed import TEXT_ENCODER
from serving.encoding import EncoderProcess

if TYPE_CHECKING:
    from recsys.text_encoders.encoder import TextEncoder

_PLAIN = (
    *(pl.String(), pl.Boolean(), pl.Float32(), pl.Float64()),
    *(pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64(), pl.UInt8(), pl.UInt16(), pl.UInt32(), pl.UInt64()),
)
#: which are told as ISO 8601 writes them
_MOMENTS = (pl.Date(), pl.Time(), pl.Datetime("ms"), pl.Datetime("us"), pl.Datetime("ns"))
#: what JSON can say, by the names that polars has for it
_TYPES: dict[str, pl.DataType] = {str(one): one for one in (*_PLAIN, *map(pl.List, _PLAIN), *_MOMENTS)}


@dataclass(frozen=True, eq=False)
class BundleText:
    """What a bundle says of its items' texts.

    Args:
        config: What is told of items, and to which model.
        fingerprint: Of the model's folder.
        types: Of the columns that are told, those that a request can say something of.
        aside: Reads in a process of its own; here, where there is none.
    """

    config: ItemTextConfig
    fingerprint: str
    types: Mapping[str, pl.DataType] = field(default_factory=dict)
    aside: EncoderProcess | None = None

    @classmethod
    def read(cls, folder: Path) -> BundleText:
        """What a bundle says. The language model is loaded when it is first needed."""
        said = json.loads((folder / TEXT).read_text(encoding="utf-8"))
        config = ItemTextConfig.from_json({**said["config"], "store": ""})
        if said["carried"]:
            carried = dataclasses.replace(config.encoder, model=str((folder / TEXT_ENCODER).resolve()), revision="")
            config = dataclasses.replace(config, encoder=carried)
        return cls(config, said["fingerprint"], {name: _TYPES[one] for name, one in said["types"].items()})

    @cached_property
    def encoder(self) -> TextEncoder:
        """The language model.

        Raises:
            InputError: It is not here and cannot be fetched, or is another one.
        """
        from recsys.text_encoders.loading import load_encoder

        self.check_model()
        return load_encoder(self.config.encoder)

    def check_model(self) -> None:
        """Finds out whether the language model is the one that the items were read by.

        Raises:
            InputError: It is not here and cannot be fetched, or is another one.
        """
        from recsys.text_encoders.folders import fingerprint, folder_of

        asked = self.config.encoder
        if fingerprint(folder_of(asked.model, asked.revision)) != self.fingerprint:
            raise InputError(
                f"the text encoder {asked.model!r} that is found here is not the one that this model was trained with"
            )

    def vectors(self, items: pl.DataFrame) -> pl.Series:
        """The vectors of what is told of items, null where nothing is; no store is asked.

        Args:
            items: One row an item; a column that is not there tells nothing. (n rows)
        """
        if self.aside is not None:
            return self.aside.vectors(items, kept=False)

        from recsys.text_encoders.items import read_items

        return read_items(items, self.config, self.encoder)

    def kept_vectors(self, items: pl.DataFrame) -> pl.Series:
        """As `vectors`, by way of the store that training has, too: for many, which are read at every start.

        Args:
            items: See `vectors`. (n rows)
        """
        if self.aside is not None:
            return self.aside.vectors(items, kept=True)

        from recsys.text_encoders.items import item_vectors, with_silent_columns

        self.check_model()
        try:
            return item_vectors(with_silent_columns(items, self.config), self.config, wait=False).vectors
        except InputError:  # nothing is told of any of them, nothing can be kept here, or a training encodes for hours
            return self.vectors(items)


def write_text(folder: Path, text: ItemTextConfig, items: pl.DataFrame) -> None:
    """Writes what `BundleText.read` reads into a bundle that is being made.

    Args:
        folder: The bundle's.
        text: What is told of items, and to which model.
        items: With the columns that are told.

    Raises:
        InputError: There is no such model.
    """
    from recsys.text_encoders.folders import MODEL_FILES, fingerprint, folder_of

    asked = text.encoder
    source = folder_of(asked.model, asked.revision)
    carried = Path(asked.model).expanduser().is_dir()
    told = dataclasses.asdict(text)
    del told["store"]
    if carried:
        told["encoder"] |= {"model": TEXT_ENCODER, "revision": ""}
        for path in sorted(source.rglob("*")):
            if path.is_file() and path.suffix in MODEL_FILES and not path.name.startswith("."):
                target = folder / TEXT_ENCODER / path.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    types = {name: _said_as(items.schema[name]) for name in text.columns if name in items.columns}
    content = {
        "config": told,
        "carried": carried,
        "fingerprint": fingerprint(source),
        "types": {name: str(one) for name, one in types.items() if can_be_said(one)},
    }
    (folder / TEXT).write_text(json.dumps(content, indent=1), encoding="utf-8")


def can_be_said(dtype: pl.DataType | DataTypeClass) -> bool:
    """Whether JSON can hold the values of a column: strings, numbers, truth values, lists of them, and dates.

    Example:
        >>> can_be_said(pl.List(pl.String())), can_be_said(pl.Struct({"a": pl.String()}))
        (True, False)
    """
    return str(_said_as(dtype)) in _TYPES


def _said_as(dtype: pl.DataType | DataTypeClass) -> pl.DataType | DataTypeClass:
    """The type that is read where a column has this one: strings for categories, lists for arrays."""
    if isinstance(dtype, pl.List | pl.Array):
        return pl.List(_said_as(dtype.inner))
    return pl.String() if isinstance(dtype, pl.Categorical | pl.Enum) else dtype
