"""What each feature got of the budget: rows, look-ups, and how many of its ids share them with others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import polars as pl

from recsys.embeddings.layout import Layout
from recsys.embeddings.plan import EmbeddingPlan, FeatureLookup


def spent(plan: EmbeddingPlan, lookups: Sequence[FeatureLookup], sizes: Mapping[str, int]) -> pl.DataFrame:
    """A line an identity (features with the same vectors are one), of its share in the tables.

    A hash puts an id on any of R rows alike. So of the ids of a feature with V of them, the share
    1 - (1 - 1 / R)^(V - 1) meets another of the same feature in a given look-up, and 1 - (1 - 1 / R^L)^(V - 1) in all
    L of them at once, which alone leaves two ids that no model can tell apart. With L look-ups of other features
    falling onto the same rows, 1 - (1 - 1 / R)^L meet one of those; they cost less, because the next layer reads
    each feature with weights of its own (Unified Embedding, section 4).

    Args:
        plan: How features are embedded.
        lookups: The features.
        sizes: How many ids each identity has.

    Returns:
        Columns feature, ids, tables, rows (of its tables together), width, look-ups, collisions_inside (share of ids in
        a look-up), collisions_between (the same, with other features), inseparable (share of ids).

    Example:
        >>> plan = EmbeddingPlan(kind="multiplexed", width=32, lookups=2, budget=0.5)
        >>> sizes = {"item_id": 3000, "genre": 17}
        >>> report = spent(plan, [FeatureLookup(name, name) for name in sizes], sizes)
        >>> report.select("feature", "rows", "collisions_inside", "collisions_between").rows()
        [('item_id', 3019, 0.63, 0.01), ('genre', 3019, 0.01, 0.86)]
    """
    layout = Layout.of(plan, lookups, sizes)
    entries = {identity: size + 1 for identity, size in sizes.items()}  # one for the ids that training has not seen
    lines = []
    for identity, tables in layout.table_of.items():
        own, others, apart = 0.0, 0.0, 1.0
        for table in tables:
            rows = layout.tables[table].rows
            foreign = sum(
                entries[one] * theirs.count(table) for one, theirs in layout.table_of.items() if one != identity
            )
            own += _met(rows, entries[identity] - 1) / len(tables)
            others += _met(rows, foreign) / len(tables)
            apart *= rows
        hashed = plan.kind != "collisionless"
        names = sorted({layout.tables[table].name for table in tables})
        lines.append(
            {
                "feature": identity,
                "ids": sizes[identity],
                "tables": ", ".join(names),
                "rows": sum(layout.tables[table].rows for table in set(tables)),
                "width": plan.width_of(identity),
                "look-ups": len(tables),
                "collisions_inside": own if hashed else 0.0,
                "collisions_between": others if hashed else 0.0,
                "inseparable": _met(apart, entries[identity] - 1) if hashed else 0.0,
            }
        )
    return pl.DataFrame(lines)


def _met(rows: float, others: int) -> float:
    """The chance that one of `others` falls onto a given one of so many rows."""
    if rows <= 1 or not others:
        return float(others > 0)
    return -math.expm1(others * math.log1p(-1 / rows))
