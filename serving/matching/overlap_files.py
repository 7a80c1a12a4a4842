"""A matcher's second opinion on disk: a table of trees, and one of the inverse document frequencies of words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from recsys.matching.overlap import MEANING, Overlap, compared_alone
from recsys.matching.overlap_judge import OverlapJudge
from recsys.matching.trees import Trees
from serving.bundles.sealed import BundleError
from serving.matching.manifest import IDF, TREES

_SCHEMA = {"field": pl.Int64(), "word": pl.String(), "idf": pl.Float64()}


def write_overlap(judge: OverlapJudge, folder: Path) -> dict[str, Any]:
    """Writes both files; what is returned goes into the bundle's settings."""
    judge.trees.table().write_parquet(folder / TREES)
    rows = [(field, word, idf) for field, words in enumerate(judge.overlap.idf) for word, idf in words.items()]
    table = pl.DataFrame(rows, schema=_SCHEMA, orient="row").sort("field", "word")
    table.write_parquet(folder / IDF)
    return {
        "meaning": MEANING,
        "features": judge.overlap.names,
        "weights": list(judge.weights),
        "unknown_idf": judge.overlap.unknown,
    }


def read_overlap(folder: Path, said: Mapping[str, Any], attributes: Sequence[str], both_orders: bool) -> OverlapJudge:
    """What `write_overlap` wrote, and returned as `said`.

    Raises:
        InputError: Trees that are none.
        BundleError: Parts that do not belong together, or that another version wrote.
    """
    unknown, weights = [float(one) for one in said["unknown_idf"]], [float(one) for one in said["weights"]]
    if len(unknown) != 1 + len(compared_alone(attributes)) or len(weights) != 3:
        raise BundleError(f"the second opinion is not of {len(attributes)} attributes")
    if not all(map(math.isfinite, [*unknown, *weights])) or min(*unknown, *weights[:2]) < 0:
        raise BundleError("the second opinion has weights that are none")
    table = pl.read_parquet(folder / IDF)
    if (
        dict(table.schema) != _SCHEMA
        or sum(table.null_count().row(0))
        or not table["idf"].is_between(0, math.inf, closed="left").all()
    ):
        raise BundleError(f"{IDF} is a table of {', '.join(_SCHEMA)}, with all told, and no idf below 0")
    if not table["field"].is_between(0, len(unknown) - 1).all():
        raise BundleError(f"{IDF} has words of attributes that are not there")
    idf: list[dict[str, float]] = [{} for _ in unknown]
    for field, word, one in table.iter_rows():
        idf[field][word] = one
    overlap = Overlap(attributes, idf, unknown)
    if said["meaning"] != MEANING or said["features"] != overlap.names:
        raise BundleError("its trees learned from numbers that this version does not compute; train the matcher anew")
    trees = Trees.of_table(pl.read_parquet(folder / TREES), len(overlap.names))
    return OverlapJudge(overlap, trees, (weights[0], weights[1], weights[2]), both_orders)
