"""Boosted trees as arrays: what LightGBM has learned, kept as a table and asked without LightGBM.

LightGBM reads its own text without checking it: a damaged one ends the process. A table can be checked whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from features.errors import InputError

if TYPE_CHECKING:
    import lightgbm

#: of pairs that walk down the trees at a time
_ROWS = 1024
#: more nodes than anybody trains
_MOST = 1 << 20

_SCHEMA = {
    "root": pl.Boolean(),
    "feature": pl.Int32(),
    "threshold": pl.Float64(),
    "left": pl.Int32(),
    "right": pl.Int32(),
    "value": pl.Float64(),
}


@dataclass(frozen=True, eq=False)
class Trees:
    """T binary trees of N nodes in all, each tree's after those of the one before, and below their parents.

    A node asks whether a number is at most a threshold, and goes left if so; a leaf goes to itself.

    Args:
        roots: (T,) int64
        feature: Which number; any, of a leaf. (N,) int32
        threshold: (N,) float64
        left: (N,) int32
        right: (N,) int32
        value: Of leaves. (N,) float64
    """

    roots: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray

    @classmethod
    def of(cls, booster: lightgbm.Booster) -> Trees:
        """What LightGBM has learned of numbers that are never missing."""
        rows: list[list[Any]] = []

        def add(node: dict[str, Any], root: bool) -> int:
            place = len(rows)
            rows.append([root, 0, 0.0, place, place, 0.0])
            if "split_index" in node:
                rows[place][1:3] = [node["split_feature"], node["threshold"]]
                rows[place][3] = add(node["left_child"], False)
                rows[place][4] = add(node["right_child"], False)
            else:
                rows[place][5] = node["leaf_value"]
            return place

        for tree in booster.dump_model()["tree_info"]:
            add(tree["tree_structure"], True)
        return cls.of_table(pl.DataFrame(rows, schema=_SCHEMA, orient="row"), booster.num_feature())

    @classmethod
    def of_table(cls, table: pl.DataFrame, features: int) -> Trees:
        """As `table` tells them.

        Args:
            table: A row a node.
            features: F, of the vectors that are asked about.

        Raises:
            InputError: What is no tree.
        """
        if dict(table.schema) != _SCHEMA or table.null_count().row(0) != (0,) * len(_SCHEMA):
            raise InputError(f"the trees are a table of {', '.join(_SCHEMA)}, with all told")
        if not 0 < len(table) <= _MOST:
            raise InputError(f"the trees have {len(table):,} nodes, and 1 to {_MOST:,} are read")
        columns = {name: table[name].to_numpy() for name in _SCHEMA}
        roots = np.flatnonzero(columns.pop("root"))
        places = np.arange(len(table))
        ends = np.append(roots, len(table))[np.searchsorted(roots, places, side="right")]
        left, right = columns["left"], columns["right"]
        leaf = (left == places) & (right == places)
        below = (left > places) & (right > places) & (left < ends) & (right < ends)
        if not roots.size or roots[0] != 0 or not (leaf | below).all():
            raise InputError("the trees have nodes that lead nowhere")
        if not np.isfinite(columns["threshold"]).all() or not np.isfinite(columns["value"]).all():
            raise InputError("the trees have numbers that are not finite")
        feature = columns["feature"]
        if feature.min() < 0 or feature.max() >= features:
            raise InputError(f"the trees ask for number {feature.max()}, and pairs have {features}")
        return cls(roots, **columns)

    def table(self) -> pl.DataFrame:
        """A row a node."""
        root = np.zeros(len(self.feature), dtype=bool)
        root[self.roots] = True
        columns = {name: getattr(self, name) for name in _SCHEMA if name != "root"}
        return pl.DataFrame({"root": root, **columns}, schema=_SCHEMA)

    @cached_property
    def depth(self) -> int:
        """Of the deepest leaf."""
        depth = np.zeros(len(self.feature), np.int64)
        for place, children in enumerate(zip(self.left.tolist(), self.right.tolist(), strict=True)):
            for child in children:
                depth[child] = max(depth[child], depth[place] + (child != place))
        return int(depth.max())

    def sums(self, vectors: np.ndarray) -> np.ndarray:
        """What all trees say together. (m, F) -> (m,) float64"""
        found = np.zeros(len(vectors))
        for start in range(0, len(vectors), _ROWS):
            some = vectors[start : start + _ROWS].astype(np.float64)
            rows = np.arange(len(some))[:, None]
            at = np.repeat(self.roots[None], len(some), axis=0)  # (rows, T)
            for _ in range(self.depth):
                lower = some[rows, self.feature[at]] <= self.threshold[at]
                at = np.where(lower, self.left[at], self.right[at])
            found[start : start + _ROWS] = self.value[at].sum(axis=1)
        return found
