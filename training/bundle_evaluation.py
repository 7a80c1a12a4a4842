"""What a bundle answers to what an evaluation asks: its official figures are those of these lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from features.prepared import Prepared
from recsys.confidence import bootstrap_intervals
from recsys.metrics import RankedTargets, UserSums
from training.evaluation import KS, METRICS, Evaluation, ModelScores, evaluate, sum_up

if TYPE_CHECKING:
    from recsys.interests import RetrieverKind
    from serving.bundles.bundle import Bundle
    from serving.candidates import CandidateGenerator


@dataclass(frozen=True)
class BundleAnswers:
    """What a loaded bundle answers to every user of the test part.

    Args:
        generator: Of the bundle.
        evaluation: What was asked.
        ranked: Where the targets stand in the answers, some users at a time.
    """

    generator: CandidateGenerator
    evaluation: Evaluation
    ranked: list[RankedTargets]

    @classmethod
    def of(cls, folder: Path, prepared: Prepared) -> BundleAnswers:
        """Loads a bundle and asks it about the test part."""
        generator, evaluation = _asked_of(folder, prepared)
        ranked = [
            RankedTargets.in_lists(served_lists(generator, evaluation, users), evaluation.targets.take(users))
            for users in evaluation.chunks()
        ]
        return cls(generator, evaluation, ranked)

    def figures(self) -> dict[str, float]:
        """The official figures, and 95% intervals of the first two."""
        from training.as_bundle import AsBundle

        figures = sum_up([self.evaluation.sums(one) for one in self.ranked])
        # lists show neither ties nor targets removed as seen; the vectors inside the bundle do, of single queries
        known = Evaluation(AsBundle.seen_by(self.evaluation.prepared, self.generator.bundle))
        exact = evaluate(known, ModelScores(self.generator.bundle.model, known).scorer)
        figures |= {name: exact[name] for name in ("ties", "unreachable")}
        intervals = bootstrap_intervals(joined([self.evaluation.user_sums(one) for one in self.ranked]))
        for name in ("hr@10", "ndcg@10"):
            figures[f"{name}_low"], figures[f"{name}_high"] = intervals[name]
        return figures


def joined(parts: Sequence[UserSums]) -> UserSums:
    """The sums of several chunks of users as one."""
    return UserSums(parts[0].names, torch.cat([one.sums for one in parts]), torch.cat([one.counts for one in parts]))


def evaluate_bundle(folder: Path, prepared: Prepared) -> dict[str, float]:
    """The official figures: those of the lists that the loaded bundle answers with, and 95% intervals of the first two.

    Args:
        folder: A bundle.
        prepared: The data; the test part is asked for.
    """
    return BundleAnswers.of(folder, prepared).figures()


def evaluate_reranked(folder: Path, prepared: Prepared) -> dict[str, float]:
    """The figures of the lists that a bundle answers with when it is asked to re-rank them: "reranked_hr@10" and so on.

    Args:
        folder: A bundle with a ranker.
        prepared: The data; the test part is asked for.
    """
    generator, evaluation = _asked_of(folder, prepared)
    ranked = (
        RankedTargets.in_lists(served_lists(generator, evaluation, users, rerank=True), evaluation.targets.take(users))
        for users in evaluation.chunks()
    )
    figures = sum_up([evaluation.sums(one, slices=False) for one in ranked])
    return {f"reranked_{name}": figures[name] for name in METRICS}


def _asked_of(folder: Path, prepared: Prepared) -> tuple[CandidateGenerator, Evaluation]:
    """A bundle, and what is asked of it: by its own declarations, so that it is told what its training was told."""
    from serving.candidates import CandidateGenerator
    from training.as_bundle import declared_as

    generator = CandidateGenerator.load(folder)
    return generator, Evaluation(declared_as(generator.bundle, prepared))


def served_lists(
    generator: CandidateGenerator,
    evaluation: Evaluation,
    users: np.ndarray,
    k: int = max(KS),
    rerank: bool = False,
    interests: RetrieverKind | None = None,
    tells_when: bool = True,
    exclude_seen: bool | None = None,
) -> Tensor:
    """What a bundle answers for some users with their histories, as item rows; -1 pads. (B, K)

    Args:
        generator: Of the bundle.
        evaluation: What is asked.
        users: Their rows. (B,)
        k: How many items.
        rerank: Let the bundle's ranker order them.
        interests: See `serving.candidates.CandidateGenerator.recommend`.
        tells_when: A bundle that reads when it is asked is told; else it takes the moment after the latest item.
        exclude_seen: Leave out what the users know already; as the split says, where not given.
    """
    prepared = evaluation.prepared
    histories = [prepared.items.ids_of(evaluation.histories.row(row)).to_list() for row in users]
    answer = generator.recommend(
        user_ids=prepared.users.ids_of(users).to_list(),
        histories=histories,
        k=k,
        exclude_seen=evaluation.seen is not None if exclude_seen is None else exclude_seen,
        rerank=rerank,
        interests=interests,
        **_times(evaluation, users, generator.bundle, tells_when),
    )
    lists = torch.full((len(users), k), -1)
    lengths = torch.tensor([len(ids) for ids in answer.item_ids])
    filled = torch.arange(k) < lengths[:, None]
    ids = _of_now(prepared, [one for ids in answer.item_ids for one in ids])
    lists[filled] = torch.from_numpy(prepared.items.rows(ids))
    return lists if prepared.dataset.aliases is None else _once(lists)


def _of_now(prepared: Prepared, ids: list[Any]) -> list[Any]:
    """The ids that a bundle answers with as the data have them: what entities have become that were merged since."""
    aliases = prepared.dataset.aliases
    if aliases is None:
        return ids
    named = dict(aliases[:, :2].iter_rows())
    return [named.get(str(one), one) for one in ids]


def _once(lists: Tensor) -> Tensor:
    """Each item of a list at its first place alone, those after it moved up. (B, K)"""
    ordered, order = lists.sort(dim=1, stable=True)
    again = torch.zeros_like(lists, dtype=torch.bool)
    again.scatter_(1, order[:, 1:], (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0))
    lists = lists.masked_fill(again, -1)
    return lists.gather(1, again.to(torch.uint8).argsort(dim=1, stable=True))


def _times(evaluation: Evaluation, users: np.ndarray, bundle: Bundle, tells_when: bool) -> dict[str, Any]:
    """When the items of some users' histories came, and when each target is asked for, to bundles that read it."""
    if not bundle.known.timed:
        return {}
    histories = evaluation.histories.rows(users)
    assert histories.times is not None  # the data are declared as the bundle says
    times = {"history_times": [histories.times[start:end].tolist() for start, end in pairwise(histories.offsets)]}
    asked_at = evaluation.asked_at(users) if tells_when and bundle.reads_asking_time else None
    return times if asked_at is None else times | {"asked_at": asked_at.tolist()}
