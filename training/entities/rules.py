"""Rules stay as they were: by others, entities of before would fall apart, unless all of them are judged anew."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from features.errors import InputError
from serving.entities.judges import Judge
from training.entities.config import ResolveConfig

#: what is said of a judge that two others of one name may differ in
_DETAILS = ("threshold",)


def check_rules(settings: dict[str, Any], config: ResolveConfig, judge: Judge | None) -> None:
    """Refuses other rules than those of before.

    Args:
        settings: Those of what was resolved before.
        config: How it is to be resolved now.
        judge: Who is to judge now; the data by themselves, where not given.

    Raises:
        InputError: Names the rule, or both judges.
    """
    before, now = settings.get("config", {}), json.loads(json.dumps(asdict(config)))
    # what a matcher may cost is the judge's affair
    for name in (one for one in now if one != "cascade"):
        told, asked = (one.get(name) for one in (before, now))
        if isinstance(told, dict):
            inside = next((one for one in told if one in asked and told[one] != asked[one]), None)
            if inside is None:
                continue
            name, told, asked = f"{name}.{inside}", told[inside], asked[inside]
        if name.partition(".")[0] in before and told != asked:
            raise InputError(
                f"{name} was {told!r} when these entities were resolved, and is {asked!r} now; leave it as it was, or "
                "judge all of them anew"
            )
    by, asked = settings.get("judge", {}), {"kind": "self-trained"} if judge is None else judge.settings
    if _which(by) != _which(asked):
        raise InputError(
            f"these entities were judged by {told_judge(by, asked)}, and now it would be {told_judge(asked, by)}; name "
            "the same judge, or judge all of them anew"
        )


def told_judge(settings: dict[str, Any], other: dict[str, Any]) -> str:
    """A judge in words: its matchers, and what it does otherwise than another one of the same matchers."""
    kind = settings.get("kind")
    if kind == "self-trained":
        return "the data by themselves"
    matchers = [settings[one] for one in ("first", "matcher") if isinstance(settings.get(one), dict)]
    if not matchers:
        return f"a judge of the kind {kind!r}"
    words = " and ".join(f"{one.get('name')!r} (build {one.get('build_id')})" for one in matchers)
    said = f"the matcher {words}" if kind == "matcher" else f"a cascade of {words}"
    differ = [one for one in _DETAILS if settings.get(one) != other.get(one) and settings.get(one) is not None]
    details = ", ".join(f"{one} {settings[one]}" for one in differ) if kind == other.get("kind") else ""
    return said + (f" with {details}" if details else "")


def _which(settings: dict[str, Any]) -> dict[str, Any]:
    """What must be the same: the build of a matcher, whatever it is called, not what was learned or may be spent."""
    plain = {name: one for name, one in settings.items() if name not in ("learned", "pairs", "minutes")}
    return {
        name: one["build_id"] if isinstance(one, dict) and "build_id" in one else one for name, one in plain.items()
    }
