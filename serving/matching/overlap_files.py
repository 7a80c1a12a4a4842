"""A matcher's second opinion on disk: LightGBM's own text, and a table of what words are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from recsys.matching.overlap import Overlap
from recsys.matching.overlap_judge import OverlapJudge
from serving.matching.manifest import TREES, WORTH

_SCHEMA = {"field": pl.Int64, "word": pl.String, "worth": pl.Float64}


def write_overlap(judge: OverlapJudge, folder: Path) -> dict[str, Any]:
    """Writes both files; what is returned goes into the bundle's settings."""
    (folder / TREES).write_text(judge.trees_as_text(), encoding="utf-8")
    rows = [(field, word, worth) for field, words in enumerate(judge.overlap.worth) for word, worth in words.items()]
    pl.DataFrame(rows, schema=_SCHEMA, orient="row").write_parquet(folder / WORTH)
    return {"weights": list(judge.weights), "unknown_worth": judge.overlap.unknown}


def read_overlap(folder: Path, said: Mapping[str, Any], attributes: Sequence[str], both_orders: bool) -> OverlapJudge:
    """What `write_overlap` wrote, and returned as `said`.

    Raises:
        InputError: Trees of something else.
    """
    table = pl.read_parquet(folder / WORTH)
    worth: list[dict[str, float]] = [{} for _ in said["unknown_worth"]]
    for field, word, one in table.iter_rows():
        worth[field][word] = one
    overlap = Overlap(attributes, worth, said["unknown_worth"])
    return OverlapJudge.of_text(overlap, (folder / TREES).read_text(encoding="utf-8"), said["weights"], both_orders)
