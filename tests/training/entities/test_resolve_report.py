"""What is told of a map: what labels are worth, and where some are wanted."""

from typing import Any

import polars as pl
import pytest

from features.entity_map import EntityMap
from training.commands.resolve_report import told


def figures(**others: Any) -> dict[str, Any]:
    plain = {
        **dict.fromkeys(("new_records", "changed_records", "unchanged_records", "removed_records"), 0),
        **{"records": 400, "entities": 186, "largest_entity": 13, "candidates": 900, "pairs": 900, "stages": []},
        **{"pairs_called_same": 631, "pairs_joined": 600, "one_to_one": False, "version": 1, "into": "map"},
    }
    return plain | others


def labels(**others: Any) -> dict[str, Any]:
    known = {"precision": 0.9836, "recall": 1.0, "f1": 0.9917, "pairs": 600, "same": 120, "sources": ["a", "b"]}
    return {**known, "called": 122, "unlabelled": 509, "besides": 480, "among_candidates": 1.0} | others


def said(**others: Any) -> str:
    return told(figures(**others), EntityMap(), pl.DataFrame())


def test_a_precision_that_says_little_is_warned_of() -> None:
    lines = said(labels=labels()).splitlines()
    warning = next(one for one in lines if one.startswith("warning: "))
    assert warning.startswith("warning: 509 of the 631 joined pairs have no label, 480 of them of records that have")
    assert warning.endswith("label some of them (recsys match label), or try --one-to-one")
    assert "--one-to-one" not in said(labels=labels(), one_to_one=True)


@pytest.mark.parametrize(
    "others",
    [
        {"besides": 30},  # labels are some of many: what else is joined is of other records
        {"unlabelled": 0, "besides": 0},
        {"precision": None, "f1": None},  # nothing is claimed
    ],
)
def test_labels_that_are_some_of_many_are_no_fault(others: dict[str, Any]) -> None:
    assert "warning" not in said(labels=labels(**others))


def test_an_estimate_that_is_low_asks_for_labels() -> None:
    low = {"precision": 0.71, "recall": 0.9, "called": 631}
    asked = "best of each other; label some pairs: recsys match label"
    assert asked in said(estimated=low)
    assert "recsys match label" not in said(estimated={**low, "precision": 0.8})
    assert "recsys match label" not in said(estimated=low, labels=labels(unlabelled=0, besides=0))
