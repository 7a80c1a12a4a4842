"""From an embedding plan and the vocabularies' sizes to tables: how many rows, and which look-ups they answer."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from features.errors import InputError
from recsys.embeddings.plan import EmbeddingPlan, FeatureLookup


@dataclass(frozen=True)
class TableShape:
    """One table.

    Args:
        name: Of its weights in the state dictionary.
        rows: R
        width: Width of a row.
        bags: The look-ups that it answers, "feature/number".
        sequence: Whether any of them wants a vector for each value. Then all come unpooled, because TorchRec keeps
            pooled and unpooled tables in collections of different kinds, and a table lives in one of them.
    """

    name: str
    rows: int
    width: int
    bags: tuple[str, ...]
    sequence: bool = False


@dataclass(frozen=True)
class Layout:
    """The tables of a model.

    Args:
        tables: Each table.
        table_of: For each identity, the number of the table that answers each of its look-ups.
    """

    tables: tuple[TableShape, ...]
    table_of: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, plan: EmbeddingPlan, lookups: Sequence[FeatureLookup], sizes: Mapping[str, int]) -> Layout:
        """Spends the plan's budget.

        Args:
            plan: How features are embedded.
            lookups: The features.
            sizes: How many ids each identity has; there is one entry more, for the ids that training has not seen.

        Raises:
            InputError: `plan.widths` names what is no feature, or a feature that has another one's vectors.
        """
        if not lookups and not plan.widths:  # of a model that reads nothing but texts
            return cls((), {})
        identity_of = {lookup.feature: lookup.identity for lookup in lookups}
        for feature, width in plan.widths.items():
            identity = identity_of.get(feature, feature)
            if identity not in sizes:
                raise InputError(
                    f"model.embeddings.widths names {feature!r}, which is no embedded feature of this model"
                )
            if plan.width_of(identity) != width:
                raise InputError(
                    f"model.embeddings.widths.{feature} is {width}, but {feature!r} has the vectors of {identity!r}, "
                    f"whose width is {plan.width_of(identity)}"
                )
        weights = {identity: (size + 1) * plan.width_of(identity) for identity, size in sizes.items()}
        collisionless = sum(weights.values())
        share = plan.parameters(collisionless) / max(1, collisionless)
        if plan.kind == "multiplexed":
            asked = sum(plan.lookups_of(one) for one in sizes)
            if plan.tables > asked:
                raise InputError(
                    f"model.embeddings.tables is {plan.tables}, and this model has only {asked} look-ups to divide "
                    "over them"
                )
            rows = round(plan.parameters(collisionless) / plan.row_width / plan.tables)
            if not 0 < rows < 1 << 31:
                raise InputError(
                    f"model.embeddings.budget {plan.budget!r} makes {rows:,} rows of {4 * plan.row_width} bytes a "
                    "table; there must be one, and at most 2,147,483,647"
                )
            turn = itertools.cycle(range(plan.tables))
            table_of = {one: tuple(itertools.islice(turn, plan.lookups_of(one))) for one in sizes}
            names = ["unified"] if plan.tables == 1 else [f"unified_{n}" for n in range(plan.tables)]
            shapes = [(name, rows, plan.row_width) for name in names]
        else:
            table_of = {one: (n,) * plan.lookups_of(one) for n, one in enumerate(sizes)}
            shapes = [
                # a module's name holds no dot
                (one.replace(".", "%2E"), max(1, round(share * weights[one] / width)), width)
                for one in sizes
                for width in [plan.width_of(one) // plan.lookups_of(one)]
            ]
        bags: list[list[str]] = [[] for _ in shapes]
        sequence: set[int] = set()
        for lookup in lookups:
            for n, table in enumerate(table_of[lookup.identity]):
                bags[table].append(f"{lookup.feature}/{n}")
                if lookup.pooling == "none":
                    sequence.update(range(len(shapes)) if plan.kind == "multiplexed" else [table])
        return cls(tuple(TableShape(*shape, tuple(bags[n]), n in sequence) for n, shape in enumerate(shapes)), table_of)

    @property
    def parameters(self) -> int:
        """Weights of all tables."""
        return sum(table.rows * table.width for table in self.tables)
