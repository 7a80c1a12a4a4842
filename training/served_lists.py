"""What a bundle answers to what an evaluation asks: its official figures are those of these lists."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from serving.bundle import Bundle
    from serving.candidates import CandidateGenerator
    from training.evaluation import Evaluation

#: the longest list that figures are given for
LONGEST = 50


def served_lists(
    generator: CandidateGenerator, evaluation: Evaluation, users: np.ndarray, k: int = LONGEST, rerank: bool = False
) -> Tensor:
    """What a bundle answers for some users with their histories, as item rows; -1 pads. (B, K)"""
    prepared = evaluation.prepared
    histories = [prepared.items.ids_of(evaluation.histories.row(row)).to_list() for row in users]
    answer = generator.recommend(
        user_ids=prepared.users.ids_of(users).to_list(),
        histories=histories,
        k=k,
        exclude_seen=evaluation.seen is not None,
        rerank=rerank,
        **_times(evaluation, users, generator.bundle),
    )
    lists = torch.full((len(users), k), -1)
    lengths = torch.tensor([len(ids) for ids in answer.item_ids])
    filled = torch.arange(k) < lengths[:, None]
    lists[filled] = torch.from_numpy(prepared.items.rows([one for ids in answer.item_ids for one in ids]))
    return lists


def _times(evaluation: Evaluation, users: np.ndarray, bundle: Bundle) -> dict[str, list]:
    """When the items of some users' histories came, and when each target is asked for, to bundles that read it."""
    if not bundle.known.timed:
        return {}
    histories, asked_at = evaluation.histories.rows(users), evaluation.asked_at(users)
    times = {"history_times": [histories.times[start:end].tolist() for start, end in pairwise(histories.offsets)]}
    return times | ({"asked_at": asked_at.tolist()} if bundle.reads_asking_time else {})
