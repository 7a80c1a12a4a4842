"""How far entities agree with labelled pairs, and two sets of clusters with each other: pair by pair."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from features.entity_map import EntityMap
from features.record_pairs import RecordPairs


def against_labels(entities: EntityMap, pairs: RecordPairs, left: str, right: str | None = None) -> dict[str, Any]:
    """What entities say of labelled pairs.

    Args:
        entities: The map.
        pairs: With labels. (m pairs)
        left: The source of the left records.
        right: Of the right ones; the same, where not given.

    Returns:
        precision, recall and f1 of the labelled pairs, None where their labels say nothing of it: without a pair that
        is different, nothing is known of precision, and without one that is the same, nothing of recall; pairs and
        same, how many have a label, and how many of these the label "the same"; called, how many of them are one
        entity; unlabelled, how many pairs between both sources are one entity and have no label; and
        besides, how many of these are of a record that a label says to be the same as another one.
    """
    right = right or left
    sides = ((left, pairs.left, pairs.left_rows), (right, pairs.right, pairs.right_rows))
    said = [entities.entities(table.ids[rows], source) for source, table, rows in sides]
    same = ((said[0] == said[1]).fill_null(False)).to_numpy()
    first = np.unique(pairs.codes(), return_index=True)[1]
    assert pairs.labels is not None
    same, labels = same[first], pairs.labels[first]
    hits = int((same & labels).sum())
    # records that a label says to be the same as another one, and what is joined without them
    matched = [(source, table.ids[rows[first[labels]]].cast(pl.String)) for source, table, rows in sides]
    others = entities.members
    of_matched = np.zeros(len(first), bool)
    for (source, ids), (_, table, rows) in zip(matched, sides, strict=True):
        others = others.filter((pl.col("source") != source) | ~pl.col("record_id").is_in(ids.to_list()))
        of_matched |= table.ids[rows[first]].cast(pl.String).is_in(ids.to_list()).to_numpy()
    called = _joined(entities.members, left, right)
    besides = called - _joined(others, left, right) - int((same & of_matched).sum())
    figures: dict[str, Any] = _figures(hits, int(same.sum()), int(labels.sum()))
    unknown = (["precision", "f1"] if labels.all() else []) + ([] if labels.any() else ["recall", "f1"])
    return {
        **(figures | dict.fromkeys(unknown)),
        "pairs": len(labels),
        "same": int(labels.sum()),
        "called": int(same.sum()),
        "unlabelled": called - int(same.sum()),
        "besides": besides,
    }


def _joined(members: pl.DataFrame, left: str, right: str) -> int:
    """How many pairs of two sources, or of one, are of one entity."""
    sizes = [
        members.filter(pl.col("source") == one).group_by("entity_id").agg(pl.len().cast(pl.Int64).alias(name))
        for one, name in ((left, "n"), (right, "m"))
    ]
    if left == right:
        return int((sizes[0]["n"] * (sizes[0]["n"] - 1)).sum() // 2)
    both = sizes[0].join(sizes[1], on="entity_id")
    return int((both["n"] * both["m"]).sum())


def among_candidates(judged: pl.DataFrame, pairs: RecordPairs, left: str, right: str | None = None) -> float:
    """The share of the pairs labelled the same that were judged at all.

    Args:
        judged: Columns left_source, left_id, right_source, right_id.
        pairs: With labels. (m pairs)
        left: The source of the left records.
        right: Of the right ones; the same, where not given.
    """
    assert pairs.labels is not None
    same = pairs.take(np.flatnonzero(pairs.labels)).frame().select("left_id", "right_id").unique()
    asked = same.select(
        pl.format("{}:{}", pl.lit(left), pl.col("left_id").cast(pl.String)).alias("one"),
        pl.format("{}:{}", pl.lit(right or left), pl.col("right_id").cast(pl.String)).alias("other"),
    )
    there = judged.select(
        pl.format("{}:{}", "left_source", "left_id").alias("one"),
        pl.format("{}:{}", "right_source", "right_id").alias("other"),
    )
    both = pl.concat([there, there.select(one="other", other="one")])
    return asked.join(both, on=["one", "other"], how="semi").height / max(asked.height, 1)


def pairwise(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Precision, recall and F1 of the pairs that are together in one set of clusters, against another one.

    Args:
        one: A number a record. (n,)
        other: Which is right. (n,)

    Example:
        >>> pairwise(np.array([0, 0, 0, 1]), np.array([0, 0, 2, 2]))["precision"]
        0.3333333333333333
    """
    together = np.unique(np.stack([one, other]), axis=1, return_counts=True)[1]
    each = [np.unique(some, return_counts=True)[1] for some in (one, other)]
    both, mine, right = (int((some * (some - 1) // 2).sum()) for some in (together, *each))
    return _figures(both, mine, right)


def _figures(hits: int, called: int, right: int) -> dict[str, float]:
    precision, recall = hits / called if called else 1.0, hits / right if right else 1.0
    return {"precision": precision, "recall": recall, "f1": 2 * hits / (called + right) if called + right else 1.0}
