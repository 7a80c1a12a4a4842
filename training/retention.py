"""What a model that went on with newer data has lost of the items that it knew before, and gained of the new ones.

Both are asked on the newer data's test part. Of the old items, the starting model and the trained one rank the same
thing: the items that the starting model has, the new ones left out for both. The starting model is asked as its bundle
would answer, which knows no new id; so nothing is counted as lost that it only had from rows it never trained.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from features.batches import FeatureBatch, JaggedArray
from features.feature_table import FeatureTable
from features.prepared import Prepared
from recsys.top_k import Scorer
from recsys.two_tower import TwoTower
from serving.bundle import Bundle
from training.evaluation import Evaluation, ModelScores, evaluate

#: what is told of old items
_FIGURES = ("ndcg@10", "hr@10")


class EvaluationOf(Evaluation):
    """An evaluation whose targets are some of the items.

    Args:
        prepared: The data.
        wanted: Which items. (N,) bool
        part: "validation" or "test".
    """

    def __init__(self, prepared: Prepared, wanted: np.ndarray, part: str = "test") -> None:
        super().__init__(prepared, part)
        self.targets = _only(self.targets, wanted)
        self.users = np.flatnonzero(self.targets.lengths)


def only_among(scorer_of: Callable[[np.ndarray], Scorer], ranked: np.ndarray) -> Callable[[np.ndarray], Scorer]:
    """Scores in which all items but some are out of the ranking.

    Args:
        scorer_of: Gives the scorer of some users' rows.
        ranked: Which items are ranked. (N,) bool
    """
    hidden = torch.from_numpy(~ranked)

    def restricted(users: np.ndarray) -> Scorer:
        score = scorer_of(users)

        def scores(rows: slice, items: slice) -> Tensor:
            block = score(rows, items)  # (b, n)
            return block.masked_fill_(hidden[items].to(block.device), -torch.inf)

        return scores

    return restricted


def measured(evaluation: Evaluation, scorer_of: Callable[[np.ndarray], Scorer]) -> dict[str, float]:
    """As `training.evaluation.evaluate`; nothing where there is no target."""
    return evaluate(evaluation, scorer_of) if len(evaluation.users) else {}


@dataclass(frozen=True)
class AsBundle(Prepared):
    """Newer data as a bundle that knows nothing of it answers on it: new ids and values are unknown.

    Rows of users and items are the newer data's; what the model is given are rows of the bundle's vocabularies.

    Args:
        bundle: The bundle.
    """

    bundle: Bundle = field(kw_only=True)

    @classmethod
    def of(cls, prepared: Prepared, bundle: Bundle) -> AsBundle:
        """The same data and split, seen by the bundle."""
        fields = {one.name: getattr(prepared, one.name) for one in dataclasses.fields(Prepared)}
        return cls(**fields, bundle=bundle)

    @cached_property
    def old_rows(self) -> np.ndarray:
        """The bundle's row of each item, -1 where it has none. (N,) int64"""
        return self.bundle.items.rows(self.items.ids)

    @cached_property
    def item_counts(self) -> np.ndarray:
        """How often the bundle's training has seen each item. (N,) int64"""
        return np.where(self.old_rows >= 0, self.bundle.item_counts[self.old_rows], 0)

    @cached_property
    def test_histories(self) -> JaggedArray:
        """Without the items that the bundle has not. (U rows)"""
        return _only(super().test_histories, self.old_rows >= 0)

    @cached_property
    def item_table(self) -> FeatureTable:
        """The items' features by the bundle's encoder. (N rows)"""
        frame = self.dataset.items[np.argsort(self.items.rows(self.dataset.items["item_id"]))]
        return self.bundle.item_encoder.encode(frame, known=self.item_counts > 0)

    @cached_property
    def user_table(self) -> FeatureTable:
        """The users' features by the bundle's encoder. (U rows)"""
        frame = self.dataset.users[np.argsort(self.users.rows(self.dataset.users["user_id"]))]
        rows = self.bundle.users.rows(self.users.ids)
        return self.bundle.known.encoder.encode(frame, known=(rows >= 0) & self.bundle.known.trained[rows])

    def user_features(self, users: np.ndarray, histories: JaggedArray) -> FeatureBatch:
        """See `Prepared.user_features`; the histories hold items of the bundle only."""
        return super().user_features(users, JaggedArray(self.old_rows[histories.values], histories.offsets))


def compare(prepared: Prepared, bundle: Bundle, model: TwoTower) -> dict[str, float]:
    """What became of old and new items.

    Args:
        prepared: The newer data and its split.
        bundle: What the training began from.
        model: The trained model, in evaluation mode.

    Returns:
        new_items and new_users, counts; old_items_ndcg@10_before and _after, old_items_hr@10_before and _after, each
        with old_items_queries targets; new_items_hr@10 with new_items_queries. A figure without a target is left out.
    """
    before = AsBundle.of(prepared, bundle)
    old = before.old_rows >= 0  # (N,)
    figures: dict[str, float] = {
        "new_items": int((~old).sum()),
        "new_users": int((bundle.users.rows(prepared.users.ids) < 0).sum()),
    }
    for when, data, asked in (("before", before, bundle.model), ("after", prepared, model)):
        evaluation = EvaluationOf(data, old)
        if found := measured(evaluation, only_among(ModelScores(asked, evaluation).scorer, old)):
            figures["old_items_queries"] = int(found["queries"])
            figures |= {f"old_items_{name}_{when}": found[name] for name in _FIGURES}
    evaluation = EvaluationOf(prepared, ~old)
    if found := measured(evaluation, ModelScores(model, evaluation).scorer):
        figures |= {"new_items_queries": int(found["queries"]), "new_items_hr@10": found["hr@10"]}
    return figures


def told(figures: dict[str, float]) -> str:
    """The comparison in one line, for people."""
    parts = []
    if "old_items_queries" in figures:
        both = ", ".join(
            f"{name.upper()} {figures[f'old_items_{name}_before']:.4f} -> {figures[f'old_items_{name}_after']:.4f}"
            for name in _FIGURES
        )
        parts.append(f"old items: {both} ({figures['old_items_queries']:,} queries)")
    parts.append(f"{figures['new_items']:,} new items")
    if "new_items_queries" in figures:
        parts[-1] += f": HR@10 {figures['new_items_hr@10']:.4f} ({figures['new_items_queries']:,} queries)"
    return "; ".join([*parts, f"{figures['new_users']:,} new users"])


def _only(jagged: JaggedArray, wanted: np.ndarray) -> JaggedArray:
    """Rows without the items that are not wanted."""
    chosen = wanted[jagged.values]
    row_of = np.repeat(np.arange(len(jagged)), jagged.lengths)
    return JaggedArray.from_pairs(row_of[chosen], jagged.values[chosen], len(jagged))
