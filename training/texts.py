"""A data set whose items have the vectors of their texts."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
from tqdm import tqdm

from features.dataset import Dataset
from features.errors import InputError
from features.prepared import Prepared
from recsys.text_encoders import ItemTextConfig
from training import processes

#: what the folder of a tuned encoder says of the data that it was tuned on
TUNED_ON = "tuned_on.json"


def with_texts(dataset: Dataset, config: ItemTextConfig, say: Callable[[str], None] = lambda line: None) -> Dataset:
    """The same data with a feature of kind "vector", of what is told of each item; as it is, where nothing is.

    Args:
        dataset: The data.
        config: What is told of items, and to which model.
        say: Called with a line about what was encoded.

    Raises:
        InputError: A column that is not there or cannot be told, a name that is taken, no such model, or a damaged
            store.
    """
    if not config.columns:
        return dataset
    taken = [one.name for one in dataset.schema if config.feature in (one.name, one.column)]
    if taken or config.feature in dataset.items.columns:
        raise InputError(
            f"text.feature is {config.feature!r}, and {'a feature' if taken else 'a column of the items'} is called so "
            "already; name the texts' vectors otherwise"
        )
    if dataset.schema.vector is not None:
        raise InputError(
            f"the items have the vector {dataset.schema.vector.name!r} already, and with text.columns there would be "
            "two; leave out one of them"
        )
    return dataset.with_vectors(text_vectors(dataset.items, config, say), config.feature, derived=True)


def text_vectors(
    items: pl.DataFrame, config: ItemTextConfig, say: Callable[[str], None] = lambda line: None
) -> pl.Series:
    """The vectors of what is told of items, null where nothing is, from the store or from the model. (n,)

    Args:
        items: One row an item. (n rows)
        config: What is told of items, and to which model.
        say: Called with a line about what was encoded.

    Raises:
        InputError: A column that is not there or cannot be told, no such model, or a damaged store.
    """
    from recsys.text_encoders import items as encoders

    with EncodingProgress() as progress:
        found = encoders.item_vectors(items, config, progress=progress)
    counts = {
        "encoded": found.encoded,
        "already known": found.stored,
        "shortened": found.shortened,
        "items without text": found.missing,
    }
    say("texts of items: " + ", ".join(f"{n:,} {what}" for what, n in counts.items() if n))
    return found.vectors


def write_tuned_on(folder: Path, prepared: Prepared) -> None:
    """Writes what `note_on_tuning` reads into the folder of an encoder that was tuned on this data."""
    said = {
        "dataset_hash": prepared.dataset.sha256,
        "split": prepared.split.name,
        "split_hash": prepared.split.sha256,
    }
    (folder / TUNED_ON).write_text(json.dumps(said, indent=1), encoding="utf-8")


def note_on_tuning(config: ItemTextConfig, prepared: Prepared) -> str | None:
    """What is wrong with an encoder that was tuned on this data under another split; None where nothing is."""
    path = Path(config.encoder.model).expanduser() / TUNED_ON
    if not config.columns or not path.is_file():
        return None
    said = json.loads(path.read_text(encoding="utf-8"))
    if said["dataset_hash"] != prepared.dataset.sha256 or said["split_hash"] == prepared.split.sha256:
        return None
    return (
        f"the text encoder was tuned under another split of this data ({said['split']}) than this "
        f"({prepared.split.name}), so that it may have been tuned on what is tested here"
    )


class EncodingProgress:
    """A bar of texts per second and the time that is left, where standard error is a terminal.

    What `recsys.text_encoders.items.item_vectors` calls with how many texts it has encoded, of how many.
    """

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def __call__(self, done: int, total: int) -> None:
        """So many of so many are encoded."""
        if self._bar is None:
            shown = processes.is_first() and sys.stderr.isatty()
            self._bar = tqdm(desc="encoding", unit="text", total=total, disable=not shown, dynamic_ncols=True)
        self._bar.update(done - self._bar.n)

    def __enter__(self) -> EncodingProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
