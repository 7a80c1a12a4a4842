"""A data set whose items have the vectors of their texts."""

from __future__ import annotations

import sys
from collections.abc import Callable

from tqdm import tqdm

from features.dataset import Dataset
from recsys.text_encoders import ItemTextConfig
from training import processes


def with_texts(dataset: Dataset, config: ItemTextConfig, say: Callable[[str], None] = lambda line: None) -> Dataset:
    """The same data with a feature of kind "vector", of what is told of each item; as it is, where nothing is.

    A data set that has the feature already, as one that a bundle's declaration was read with, keeps it.

    Args:
        dataset: The data.
        config: What is told of items, and to which model.
        say: Called with a line about what was encoded.

    Raises:
        InputError: A column that is not there or cannot be told, no such model, or a damaged store.
    """
    if not config.columns or config.feature in dataset.items.columns:
        return dataset
    from recsys.text_encoders.items import item_vectors

    with EncodingProgress() as progress:
        found = item_vectors(dataset.items, config, progress=progress)
    counts = {
        "encoded": found.encoded,
        "already known": found.stored,
        "shortened": found.shortened,
        "items without text": found.missing,
    }
    say("texts of items: " + ", ".join(f"{n:,} {what}" for what, n in counts.items() if n))
    return dataset.with_vectors(found.vectors, config.feature)


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
