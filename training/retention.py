"""What a model that went on with newer data has lost of the items that it knew before, and gained of the new ones.

Both are asked on the newer data's test part. Of the old items, the starting model and the trained one rank the same
thing: the items that the starting model has, the new ones left out for both. The starting model is asked as its bundle
would answer, which knows no new id; so nothing is counted as lost that it only had from rows it never trained.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from features.prepared import Prepared
from recsys.retrievers import Retriever
from recsys.top_k import Scorer
from serving.bundles.bundle import Bundle
from training.as_bundle import AsBundle
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
        self.targets = self.targets.only(wanted[self.targets.values])
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


def compare(prepared: Prepared, bundle: Bundle, model: Retriever) -> dict[str, float]:
    """What became of old and new items.

    Args:
        prepared: The newer data and its split.
        bundle: What the training began from.
        model: The trained model, in evaluation mode.

    Returns:
        new_items and new_users, counts; old_items_ndcg@10_before and _after, old_items_hr@10_before and _after, each
        with old_items_queries targets; new_items_hr@10 with new_items_queries. A figure without a target is left out.
    """
    before = AsBundle.seen_by(prepared, bundle)
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
