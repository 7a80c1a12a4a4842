"""Which interactions are for training, validation and test: splits of single interactions, and of items.

What a split is stands in `features.parts`, splits of whole sessions in `features.session_splits`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from features.dataset import Dataset
from features.errors import InputError
from features.histories import chronological
from features.parts import CONTEXT, PARTS, TEST, TRAIN, VALIDATION, Split, check_shares, split_of
from features.session_splits import given, sessions
from features.settings import check_settings
from features.vocabulary import Vocabulary

__all__ = [
    "CONTEXT",
    "PARTS",
    "SPLITS",
    "TEST",
    "TRAIN",
    "VALIDATION",
    "Split",
    "by_time",
    "cold_items",
    "given",
    "leave_one_out",
    "make_split",
    "random_ratio",
    "sessions",
]


def random_ratio(
    dataset: Dataset,
    train: float = 0.8,
    validation: float = 0.1,
    seed: int = 0,
    of: Literal["all", "users"] = "all",
) -> Split:
    """Every interaction for itself, at random, in exact proportions; what train and validation leave is for test.

    Training items are removed from a user's ranking, and a test history is the training items, later ones too.

    Args:
        dataset: What to split.
        train: Share for training.
        validation: Share for validation.
        seed: Another seed is another split.
        of: Shares of "all" interactions; or of each of the "users'", rounded, so that one of few only trains.

    Example:
        >>> from features.sources import load
        >>> random_ratio(load("generated", interactions=1000))
        Split('random': 800 train, 100 validation, 100 test; seen: train, test history: train)
    """
    check_shares(train=train, validation=validation)
    n = dataset.interactions.height
    random = np.random.default_rng(seed)
    settings = {"train": train, "validation": validation, "seed": seed}
    if of == "users":
        parts = _parts_of_each(_user_rows(dataset), train, validation, random)
        return split_of("random", {**settings, "of": of}, parts, dataset, "train", "train", "any")
    until_train = round(n * train)
    until_validation = max(until_train, round(n * (train + validation)))
    parts = np.full(n, TEST, dtype=np.uint8)
    parts[:until_train] = TRAIN
    parts[until_train:until_validation] = VALIDATION
    random.shuffle(parts)  # shuffles labels of one byte, not positions of eight
    return split_of("random", settings, parts, dataset, "train", "train", "any")


def _parts_of_each(users: np.ndarray, train: float, validation: float, random: np.random.Generator) -> np.ndarray:
    """Parts at random, in proportions of each user's interactions. (n,) -> (n,) uint8"""
    order = np.lexsort((random.random(len(users)), users))
    lengths = np.bincount(users)
    place = np.arange(len(users)) - np.repeat(np.cumsum(lengths) - lengths, lengths)  # in its user's order
    parts = np.full(len(users), TEST, dtype=np.uint8)
    # just below a half is one half but for rounding: 0.8 + 0.1 is less than 0.9
    ends = [np.floor(lengths * share + 0.5 + 1e-9) for share in (train, train + validation)]
    parts[order[place < np.repeat(ends[1], lengths)]] = VALIDATION
    parts[order[place < np.repeat(ends[0], lengths)]] = TRAIN
    return parts


def _user_rows(dataset: Dataset) -> np.ndarray:
    """Each interaction's user, as a number. (n,)"""
    return Vocabulary.fit("user_id", dataset.users["user_id"]).rows(dataset.interactions["user_id"])


def leave_one_out(dataset: Dataset, seen: Literal["train+validation", "none"] = "train+validation") -> Split:
    """Each user's last interaction is for test, the one before for validation; users with fewer than three only train.

    Interactions of the same time count in the order of the file. Test histories hold the validation item, and both
    parts before the test are seen: the protocol of SASRec and BERT4Rec, with the whole catalogue ranked.

    Args:
        dataset: What to split.
        seen: "none" leaves items in the ranking that the user had before: what the next item is, again or not.
    """
    interactions = dataset.interactions
    user_rows = _user_rows(dataset)
    order = chronological(user_rows, interactions["timestamp"].to_numpy())
    lengths = np.bincount(user_rows)
    ends = np.cumsum(lengths)[lengths >= 3]
    parts = np.full(interactions.height, TRAIN, dtype=np.uint8)
    parts[order[ends - 1]] = TEST
    parts[order[ends - 2]] = VALIDATION
    if not len(ends):
        raise InputError(f"no user of {dataset.name!r} has three interactions, as the split leave-one-out needs")
    # the default is not named, so that the split has the hash that it had before there was a choice
    settings = {} if seen == "train+validation" else {"seen": seen}
    return split_of("leave-one-out", settings, parts, dataset, seen, "train+validation")


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
    check_shares(validation=validation, test=test)
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
    made = split_of("time", settings, parts, dataset, "train+validation", "train+validation")
    for part in ("train", "test", *(("validation",) if validation else ())):
        if not made.counts[part]:
            raise InputError(
                f"the split by time leaves no interaction for {part}: validation begins at {validation_from}, test at "
                f"{test_from}, and the timestamps run from {times.min()} to {times.max()}"
            )
    return made


def cold_items(
    dataset: Dataset,
    validation: float = 0.05,
    test: float = 0.05,
    seed: int = 0,
    history: Literal["all", "before"] = "all",
) -> Split:
    """Withholds items, with all their interactions: separate ones for validation and for test.

    Nothing may learn from withheld items: histories hold training items only.

    Args:
        dataset: What to split.
        validation: Share of the items (of those with interactions) for validation.
        test: Share of the items for test.
        seed: Another seed withholds other items.
        history: "all" the training items that the user has; or those "before" the first withheld one that is asked for,
            which next-item models need: what came after tells them what came.
    """
    check_shares(validation=validation, test=test)
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
    settings = {"validation": validation, "test": test, "seed": seed}
    if history == "all":  # not named, so that the split has the hash that it had before there was a choice
        return split_of("cold-items", settings, parts, dataset, "train", "train", "any")
    return split_of("cold-items", {**settings, "history": history}, parts, dataset, "train", "train", "cut")


SPLITS: dict[str, Callable[..., Split]] = {
    "random": random_ratio,
    "leave-one-out": leave_one_out,
    "time": by_time,
    "cold-items": cold_items,
    "sessions": sessions,
    "given": given,
}


def make_split(name: str, dataset: Dataset, **settings: Any) -> Split:
    """A split by name: "random", "leave-one-out", "time", "cold-items", "sessions" or "given".

    Raises:
        InputError: An unknown name, an unknown setting, or one with a value that it cannot take.
    """
    if name not in SPLITS:
        raise InputError(f"there is no split {name!r}; the splits are {', '.join(SPLITS)}")
    check_settings(SPLITS[name], settings, f"the split {name!r}")
    return SPLITS[name](dataset, **settings)
