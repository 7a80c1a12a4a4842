"""How much a word says: its inverse document frequency among the records of both tables."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl


def word_weights(tables: Iterable[pl.DataFrame]) -> tuple[dict[str, float], float]:
    """ln(n / holders) of each word that two records and more hold, and that of the others.

    Args:
        tables: A column an attribute, as they are told to a model. (n rows in all) String

    Returns:
        Weights by word, and what a word weighs that is not among them.

    Example:
        >>> weights, unknown = word_weights([pl.DataFrame({"title": ["a rose", "a soap", "a rose soap", "tea"]})])
        >>> {word: round(one, 2) for word, one in sorted(weights.items())}, round(unknown, 2)
        ({'a': 0.29, 'rose': 0.69, 'soap': 0.69}, 1.39)
    """
    said, n = [], 0
    for table in tables:
        words = table.select(pl.concat_str(pl.all(), separator=" ").str.split(" ").list.unique().alias("word"))
        said.append(words.explode("word"))
        n += table.height
    holders = pl.concat(said).filter(pl.col("word") != "").group_by("word").len().filter(pl.col("len") > 1)
    weights = np.log(n / holders["len"].to_numpy())
    return dict(zip(holders["word"].to_list(), weights.tolist(), strict=True)), float(np.log(max(n, 1)))
