"""The evaluation window: what has happened since a moment, asked of bundles that know nothing of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor

from features.dataset import Dataset
from features.errors import InputError
from features.parts import TEST, TRAIN, split_of
from features.prepared import Prepared
from features.schema import FeatureSchema, Id, Sequence
from training.evaluation import Evaluation
from training.promotion.moments import told

#: what bundles are asked with: ids, and histories with their times, of which each takes what it reads. Attributes and
#: texts are in the bundles, so that nothing is encoded here.
_ASKED_WITH = FeatureSchema((Id("user_id"), Sequence("history", timed=True)), (Id("item_id"),))


@dataclass(frozen=True, eq=False)
class Window:
    """The users with an interaction in the window: what each had before it, and what each took in it.

    Args:
        evaluation: Histories are all interactions before the window, targets those in it.
        since: The window's first timestamp.
        until: The timestamp of its last interaction.
        cold: Which items hardly anybody had before the window. (N,) bool
        in_all: How many users have an interaction in the window; those of the evaluation are drawn from them.
    """

    evaluation: Evaluation
    since: int
    until: int
    cold: Tensor
    in_all: int

    @classmethod
    def of(cls, dataset: Dataset, since: int, new_only: bool, users: int = 0, cold_below: int = 5) -> Window:
        """Everything from a moment on.

        Args:
            dataset: Of any source whose timestamps are moments.
            since: The first timestamp that counts.
            new_only: What a user had before is no target, because no bundle would recommend it again.
            users: How many users are asked for at most, drawn always alike; 0 for all.
            cold_below: Items with fewer interactions before the window are cold.

        Raises:
            InputError: Data without moments, or nothing before or in the window.
        """
        if not dataset.dated:
            raise InputError(
                f"the interactions of {dataset.name} have no times, only an order, so that no window of them is later "
                "than what a model knows"
            )
        log = dataset.interactions
        times = log["timestamp"].to_numpy()
        inside = times >= since
        if not inside.any() or inside.all():
            raise InputError(nothing_in(dataset, since, "before" if inside.all() else "in"))
        log = log.select("user_id", "item_id", "timestamp").with_columns(pl.Series("in_window", inside))
        pair = ["user_id", "item_id"]
        # once is enough to be a target
        again = pl.col("in_window") & (pl.struct(pair).cum_count().over([*pair, "in_window"], order_by="timestamp") > 1)
        if new_only:
            again |= pl.col("in_window") & ~pl.col("in_window").all().over(pair)
        log = log.filter(~again)
        if not log["in_window"].any():
            raise InputError(
                f"all that is in the window from {told(since)} on, its users had before, and it is not recommended"
            )
        of = dataclasses.replace(dataset, interactions=log.drop("in_window"), schema=_ASKED_WITH)
        parts = np.where(log["in_window"].to_numpy(), TEST, TRAIN).astype(np.uint8)
        settings = {"since": since, "users": users}
        split = split_of("window", settings, parts, of, "train" if new_only else "none", "train")
        evaluation = Evaluation(Prepared.of(of, split))
        in_all = len(evaluation.users)
        if 0 < users < in_all:
            evaluation.users = np.sort(np.random.default_rng(0).choice(evaluation.users, users, replace=False))
        cold = torch.from_numpy(evaluation.prepared.item_counts < cold_below)
        return cls(evaluation, since, int(times.max()), cold, in_all)

    @property
    def users(self) -> int:
        """How many users are asked for."""
        return len(self.evaluation.users)

    @property
    def targets(self) -> int:
        """How many items they took."""
        return int(self.evaluation.targets.lengths[self.evaluation.users].sum())

    @property
    def sha256(self) -> str:
        """Of the interactions and where the window begins."""
        return self.evaluation.prepared.split.sha256

    def __str__(self) -> str:
        some = "" if self.users == self.in_all else f" of {self.in_all:,}"
        name = self.evaluation.prepared.dataset.name
        return (
            f"the window of {name} from {told(self.since)} to {told(self.until)}: {self.users:,}{some} users, "
            f"{self.targets:,} items that they took"
        )


def nothing_in(dataset: Dataset, since: int, place: str = "in") -> str:
    """That a window has nothing in it, or nothing before it.

    Args:
        dataset: With moments.
        since: The window's first timestamp.
        place: "in" or "before".
    """
    times = dataset.interactions["timestamp"].to_numpy()
    return (
        f"nothing of {dataset.name} is {place} the window from {told(since)} on: its interactions are from "
        f"{told(int(times.min()))} to {told(int(times.max()))}"
    )
