"""Rules that stay: whoever judges by others is told of both."""

from typing import Any

import pytest

from features.errors import InputError
from training.entities.config import ResolveConfig
from training.entities.rules import check_rules, told_judge


class Told:
    """A judge, as far as rules look at it."""

    lasting = True

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings


def matcher(build: str, name: str = "shops", threshold: float = 0.5) -> dict[str, Any]:
    identity = {"name": name, "version": None, "build_id": build}
    return {"kind": "matcher", "matcher": identity, "threshold": threshold}


def test_both_judges_are_named() -> None:
    config = ResolveConfig()
    before = {"judge": matcher("b1")}
    check_rules(before, config, Told(matcher("b1", name="the same one in a folder")))
    with pytest.raises(InputError, match=r"by the matcher 'shops' \(build b1\), and now it would be the data by"):
        check_rules(before, config, None)
    with pytest.raises(InputError, match=r"\(build b1\), and now it would be the matcher 'other' \(build b2\);"):
        check_rules(before, config, Told(matcher("b2", name="other")))
    with pytest.raises(InputError, match=r"\(build b1\) with threshold 0.5, and now .* with threshold 0.7;"):
        check_rules(before, config, Told(matcher("b1", threshold=0.7)))
    learned = {"judge": {"kind": "self-trained", "learned": {"names": ["x"]}}}
    check_rules(learned, config, None)
    with pytest.raises(InputError, match="by the data by themselves, and now it would be the matcher"):
        check_rules(learned, config, Told(matcher("b1")))
    assert told_judge({"kind": "codes"}, {}) == "a judge of the kind 'codes'"


def test_settings_that_an_older_map_does_not_know_are_no_change() -> None:
    judge = {"judge": {"kind": "self-trained"}}
    check_rules({**judge, "config": {"clusters": "correlation", "blocking": {"candidates": 10}}}, ResolveConfig(), None)
    with pytest.raises(InputError, match=r"blocking.candidates was 9 when these entities were resolved, and is 10 now"):
        check_rules({**judge, "config": {"blocking": {"candidates": 9}}}, ResolveConfig(), None)
