"""Which interactions are for training, validation and test, and what an evaluation on them may and must know.

What counts as seen, and what a test history holds, changes figures as much as a model does; so both are part of the
split, and the split's hash goes with every figure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import polars as pl

from features.dataset import Dataset
from features.digest import sha256_of
from features.errors import InputError
from features.histories import chronological
from features.settings import check_settings
from features.vocabulary import Vocabulary

TRAIN, VALIDATION, TEST = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Split:
    """A part for every interaction.

    Args:
        name: How it was made, see `make_split`.
        settings: With which settings.
        parts: TRAIN, VALIDATION or TEST. (n,) uint8
        interactions: What was split: columns user_id, item_id and timestamp. (n rows)
        seen: What is removed from a user's ranking of test items; in a ranking of validation items it is the training
            items, unless this is "none".
        test_history: What a user's history holds when test items are asked for.
    """

    name: str
    settings: dict[str, Any]
    parts: np.ndarray
    interactions: pl.DataFrame = field(repr=False)
    seen: Literal["none", "train", "train+validation"] = "train"
    test_history: Literal["train", "train+validation"] = "train"

    @cached_property
    def sha256(self) -> str:
        """Of the parts, the interactions and all settings: equal hashes mean comparable figures."""
        settings = sorted(self.settings.items())
        return sha256_of(self.name, settings, self.seen, self.test_history, self.parts, self.interactions)

    @property
    def withholds_items(self) -> bool:
        """Whether whole items are kept from training, which then must not know that they exist."""
        return self.name == "cold-items"

    @property
    def counts(self) -> dict[str, int]:
        """How many interactions each part has."""
        sizes = np.bincount(self.parts, minlength=3).tolist()
        return dict(zip(("train", "validation", "test"), sizes, strict=True))

    def __repr__(self) -> str:
        counts = ", ".join(f"{size:,} {part}" for part, size in self.counts.items() if size)
        return f"Split({self.name!r}: {counts}; seen: {self.seen}, test history: {self.test_history})"


def random_ratio(dataset: Dataset, train: float = 0.8, validation: float = 0.1, seed: int = 0) -> Split:
    """Every interaction for itself, at random, in exact proportions; what train and validation leave is for test.

    Training items are removed from a user's ranking, and a test history is the training items.

    Args:
        dataset: What to split.
        train: Share for training.
        validation: Share for validation.
        seed: Another seed is another split.

    Example:
        >>> from features.sources import load
        >>> random_ratio(load("generated", interactions=1000))
        Split('random': 800 train, 100 validation, 100 test; seen: train, test history: train)
    """
    _check_shares(train=train, validation=validation)
    n = dataset.interactions.height
    until_train = round(n * train)
    until_validation = max(until_train, round(n * (train + validation)))
    parts = np.full(n, TEST, dtype=np.uint8)
    parts[:until_train] = TRAIN
    parts[until_train:until_validation] = VALIDATION
    np.random.default_rng(seed).shuffle(parts)  # shuffles labels of one byte, not positions of eight
    return _split("random", {"train": train, "validation": validation, "seed": seed}, parts, dataset)


def leave_one_out(dataset: Dataset) -> Split:
    """Each user's last interaction is for test, the one before for validation; users with fewer than three only train.

    Interactions of the same time count in the order of the file. Test histories hold the validation item, and both
    parts before the test are seen: the protocol of SASRec and BERT4Rec, with the whole catalogue ranked.
    """
    interactions = dataset.interactions
    users = Vocabulary.fit("user_id", dataset.users["user_id"])
    user_rows = users.rows(interactions["user_id"])
    order = chronological(user_rows, interactions["timestamp"].to_numpy())
    lengths = np.bincount(user_rows, minlength=len(users))
    ends = np.cumsum(lengths)[lengths >= 3]
    parts = np.full(interactions.height, TRAIN, dtype=np.uint8)
    parts[order[ends - 1]] = TEST
    parts[order[ends - 2]] = VALIDATION
    if not len(ends):
        raise InputError(f"no user of {dataset.name!r} has three interactions, as the split leave-one-out needs")
    return _split("leave-one-out", {}, parts, dataset, "train+validation", "train+validation")


def by_time(
    dataset: Dataset,
    validation: float = 0.1,
    test: float = 0.1,
    validation_from: int | None = None,
    test_from: int | None = None,
) -> Split:
    """The past trains, what comes after validates, and the latest tests: as it will be in use.

    Interactions of the same time stay together, so shares are met as nearly as ties allow. Test histories hold
    the validation items.

    Args:
        dataset: What to split.
        validation: Share for validation.
        test: Share for test.
        validation_from: The first timestamp of validation, instead of a share.
        test_from: The first timestamp of test, instead of a share.

    Raises:
        InputError: Cut-offs that leave a part empty.
    """
    _check_shares(validation=validation, test=test)
    times = dataset.interactions["timestamp"].to_numpy()
    n = len(times)
    places = [min(n - 1, round(n * share)) for share in (1 - validation - test, 1 - test)]
    ordered = np.partition(times, places)
    validation_from = int(ordered[places[0]]) if validation_from is None else int(validation_from)
    test_from = int(ordered[places[1]]) if test_from is None else int(test_from)
    if validation_from > test_from:
        raise InputError(f"validation begins at {validation_from}, after test at {test_from}")
    parts = (times >= validation_from).astype(np.uint8)  # TRAIN is 0, VALIDATION is 1
    parts[times >= test_from] = TEST
    settings = {"validation_from": validation_from, "test_from": test_from}
    made = _split("time", settings, parts, dataset, "train+validation", "train+validation")
    for part in ("train", "test", *(("validation",) if validation else ())):
        if not made.counts[part]:
            raise InputError(
                f"the split by time leaves no interaction for {part}: validation begins at {validation_from}, test at "
                f"{test_from}, and the timestamps run from {times.min()} to {times.max()}"
            )
    return made


def cold_items(dataset: Dataset, validation: float = 0.05, test: float = 0.05, seed: int = 0) -> Split:
    """Withholds items, with all their interactions: separate ones for validation and for test.

    Nothing may learn from withheld items: histories hold training items only.

    Args:
        dataset: What to split.
        validation: Share of the items (of those with interactions) for validation.
        test: Share of the items for test.
        seed: Another seed withholds other items.
    """
    _check_shares(validation=validation, test=test)
    items = Vocabulary.fit("item_id", dataset.interactions["item_id"])
    n = len(items)
    sizes = [max(1, round(n * share)) if share else 0 for share in (validation, test)]
    if sum(sizes) >= n:
        raise InputError(f"withholding {sum(sizes)} of {n} items leaves none to train on")
    part_of_item = np.full(n, TRAIN, dtype=np.uint8)
    part_of_item[: sizes[0]] = VALIDATION
    part_of_item[sizes[0] : sum(sizes)] = TEST
    np.random.default_rng(seed).shuffle(part_of_item)
    parts = part_of_item[items.rows(dataset.interactions["item_id"])]
    return _split("cold-items", {"validation": validation, "test": test, "seed": seed}, parts, dataset)


SPLITS: dict[str, Callable[..., Split]] = {
    "random": random_ratio,
    "leave-one-out": leave_one_out,
    "time": by_time,
    "cold-items": cold_items,
}


def make_split(name: str, dataset: Dataset, **settings: Any) -> Split:
    """A split by name: "random", "leave-one-out", "time" or "cold-items".

    Raises:
        InputError: An unknown name, an unknown setting, or one with a value that it cannot take.
    """
    if name not in SPLITS:
        raise InputError(f"there is no split {name!r}; the splits are {', '.join(SPLITS)}")
    check_settings(SPLITS[name], settings, f"the split {name!r}")
    return SPLITS[name](dataset, **settings)


def _split(name: str, settings: dict[str, Any], parts: np.ndarray, dataset: Dataset, *knows: str) -> Split:
    interactions = dataset.interactions.select("user_id", "item_id", "timestamp")
    return Split(name, settings, parts, interactions, *knows)


def _check_shares(**shares: float) -> None:
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise InputError(f"{name} is a share in [0, 1), got {share}")
    if sum(shares.values()) >= 1:
        raise InputError(f"{' and '.join(shares)} together leave nothing: {sum(shares.values()):g} of 1")
