"""Splits of whole sessions: one is trained on or it is not, and of one that is not, the last item is asked for.

A session is a user to everything else. What a withheld session held before its last item is context: histories hold it
when the last item is asked for, and nothing is trained on it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl

from features.dataset import Dataset
from features.errors import InputError
from features.histories import chronological, from_the_first
from features.parts import CONTEXT, PARTS, TEST, TRAIN, VALIDATION, Split, check_shares, split_of
from features.vocabulary import Vocabulary


def sessions(
    dataset: Dataset,
    validation: float = 0.1,
    test: float = 0.1,
    seed: int | Literal["latest"] = 0,
    seen: Literal["none", "train+validation"] = "none",
) -> Split:
    """Withholds whole users, that is, sessions; each one's last item is asked for, the earlier ones are its history.

    Only sessions of two items and more can be withheld. Items of the same time count in the order of the file.

    Args:
        dataset: What to split.
        validation: Share of the sessions of two items and more for validation.
        test: Share of them for test.
        seed: Another seed withholds other sessions; "latest" withholds those that end last, test's after validation's.
        seen: Sessions come back to what they had, so nothing is removed from a ranking, unless this says so.

    Raises:
        InputError: No session with two items, or none left to train on.
    """
    check_shares(validation=validation, test=test)
    rows = _user_rows(dataset)
    times = dataset.interactions["timestamp"].to_numpy()
    last = _last_places(rows, times, dataset.users.height)
    long_enough = np.flatnonzero(np.bincount(rows, minlength=dataset.users.height) >= 2)
    if not len(long_enough):
        raise InputError(f"no session of {dataset.name!r} has two interactions, as the split sessions needs")
    order = _in_turn(long_enough, times[last], seed)
    n_test, n_validation = (max(1, round(len(order) * share)) if share else 0 for share in (test, validation))
    n_sessions = len(np.unique(rows))
    if n_test + n_validation > len(order) or n_test + n_validation >= n_sessions:
        raise InputError(
            f"{n_test + n_validation} sessions of two interactions cannot be withheld and others trained on: "
            f"{dataset.name!r} has {n_sessions} sessions, {len(order)} of them that long"
        )
    parts = np.full(len(rows), TRAIN, dtype=np.uint8)
    _withhold(parts, rows, last, order[:n_test], TEST)
    _withhold(parts, rows, last, order[n_test : n_test + n_validation], VALIDATION)
    settings = {"validation": validation, "test": test, "seed": seed, "seen": seen}
    return split_of("sessions", settings, parts, dataset, seen, "train+validation")


def given(
    dataset: Dataset,
    validation: float = 0.1,
    seed: int | Literal["latest"] = 0,
    seen: Literal["none", "train+validation"] = "none",
) -> Split:
    """The parts that the column `part` of the interactions says: "train", "validation", "test" or "context".

    Where no interaction says "validation", a share of the sessions that are for training as a whole is withheld for it,
    as `sessions` withholds them.

    Args:
        dataset: What to split.
        validation: That share.
        seed: Which sessions: see `sessions`.
        seen: What is removed from rankings.

    Raises:
        InputError: No such column, another word in it, an order in which histories would hold what came later, or a
            part that nothing is left for.
    """
    check_shares(validation=validation)
    parts = _said(dataset)
    _check_order(dataset, parts)
    if validation and not (parts == VALIDATION).any():
        rows = _user_rows(dataset)
        times = dataset.interactions["timestamp"].to_numpy()
        last = _last_places(rows, times, dataset.users.height)
        n_training = np.bincount(rows[parts == TRAIN], minlength=dataset.users.height)
        whole = np.flatnonzero((n_training >= 2) & (n_training == np.bincount(rows, minlength=dataset.users.height)))
        n = max(1, round(len(whole) * validation))
        if n > len(whole) or n >= np.count_nonzero(n_training):
            raise InputError(
                f"the column 'part' of {dataset.name!r} says 'validation' nowhere, and {len(whole)} sessions of two "
                "training items and more are too few to withhold some for it"
            )
        _withhold(parts, rows, last, _in_turn(whole, times[last], seed)[:n], VALIDATION)
    settings = {"validation": validation, "seed": seed, "seen": seen}
    return split_of("given", settings, parts, dataset, seen, "train+validation")


def _said(dataset: Dataset) -> np.ndarray:
    """The column `part` as numbers. (n,) uint8"""
    if "part" not in dataset.interactions.columns:
        raise InputError(
            f"the split given reads a column 'part' of the interactions, and those of {dataset.name!r} have only "
            f"{', '.join(dataset.interactions.columns)}; of tables, it is named under 'interactions: columns' in "
            "schema.yaml"
        )
    words = dataset.interactions["part"].cast(pl.String)
    strange = words.filter(~words.is_in(PARTS).fill_null(False))
    if len(strange):
        raise InputError(
            f"column 'part' of the interactions is one of {', '.join(PARTS)}, and holds something else in "
            f"{len(strange)} of {len(words)} rows, such as {strange[0]!r}"
        )
    parts = words.replace_strict(PARTS, range(len(PARTS)), return_dtype=pl.UInt8).to_numpy().copy()
    for part in (TRAIN, TEST):
        if not (parts == part).any():
            raise InputError(f"column 'part' of the interactions says {PARTS[part]!r} nowhere")
    return parts


def _check_order(dataset: Dataset, parts: np.ndarray) -> None:
    """Refuses what is known when something earlier is asked for."""
    rows, times = _user_rows(dataset), dataset.interactions["timestamp"].to_numpy()
    for asked, known in ((TEST, (TRAIN, CONTEXT, VALIDATION)), (VALIDATION, (TRAIN, CONTEXT))):
        late = np.isin(parts, known) & from_the_first(rows, times, parts == asked)
        if late.any():
            one = dataset.interactions.row(int(late.argmax()), named=True)
            raise InputError(
                f"column 'part' of the interactions puts {np.count_nonzero(late)} of them into histories that come "
                f"after the same user's first {PARTS[asked]!r} item, such as the {one['part']!r} item "
                f"{one['item_id']!r} of the user {one['user_id']!r}; histories may hold only what came before"
            )


def _user_rows(dataset: Dataset) -> np.ndarray:
    return Vocabulary.fit("user_id", dataset.users["user_id"]).rows(dataset.interactions["user_id"])


def _last_places(rows: np.ndarray, times: np.ndarray, n_users: int) -> np.ndarray:
    """Where each user's last interaction stands; meaningless for users without one. (U,)"""
    return chronological(rows, times)[np.cumsum(np.bincount(rows, minlength=n_users)) - 1]


def _in_turn(users: np.ndarray, ends: np.ndarray, seed: int | Literal["latest"]) -> np.ndarray:
    """Users in the order in which they are withheld: shuffled, or those first that end (ends: (U,)) last. (n,)"""
    if seed == "latest":
        return users[np.argsort(ends[users], kind="stable")[::-1]]
    return np.random.default_rng(seed).permutation(users)


def _withhold(parts: np.ndarray, rows: np.ndarray, last: np.ndarray, users: np.ndarray, part: int) -> None:
    """Makes some users' last interaction a target of `part`, and all before it context, in place."""
    withheld = np.zeros(len(last), dtype=bool)
    withheld[users] = True
    parts[withheld[rows]] = CONTEXT
    parts[last[users]] = part
