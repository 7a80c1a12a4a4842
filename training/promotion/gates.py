"""Gates: what a version has to pass before it is served, each with one sentence that has the numbers.

Two are the question itself: a version passes only if its users' NDCG@10 and recall are shown to be no worse. The others
guard: they refuse what is shown to be broken, or much worse than it was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from features.errors import InputError
from training.promotion.moments import told


@dataclass(frozen=True)
class Tolerances:
    """How much worse than the champion a version may be.

    Args:
        quality: Share of the champion's NDCG@10 by user, and of its recall, that the version must be shown not to lose.
            Of two seeds of one model, three thousand users tell no more than that they are within 2.2% of each other.
        require_better: It must be shown to rank better, by NDCG@10 or by recall, and no worse by the other.
        depth: How many candidates recall is of.
        coverage: Share of the champion's catalogue coverage that may be lost.
        cold: Share of the champion's recall of cold items whose loss, if it is shown, is refused.
        cold_below: Items with fewer interactions before the window are cold.
        latency: How many times as long as the champion's a single request may take,
        latency_ms: if it takes so many milliseconds more.
        size: How many times as large as the champion the bundle may be.
        index_recall: Share of the exact best that the index must find.
        users: How many users of the window are asked for, at most; 0 for all.
        resamples: How often the bootstrap draws.
        requests: How many requests are timed.
    """

    quality: float = 0.03
    require_better: bool = False
    depth: int = 100
    coverage: float = 0.2
    cold: float = 0.1
    cold_below: int = 5
    latency: float = 1.5
    latency_ms: float = 1.0
    size: float = 2.0
    index_recall: float = 0.95
    users: int = 20_000
    resamples: int = 1000
    requests: int = 200

    def __post_init__(self) -> None:
        for name, least in {"depth": 1, "resamples": 1, "requests": 1, "users": 0, "cold_below": 0}.items():
            if getattr(self, name) < least:
                raise InputError(f"the tolerance {name} is at least {least}, got {getattr(self, name)}")
        for name in ("quality", "coverage", "cold", "latency", "latency_ms", "size", "index_recall"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise InputError(f"the tolerance {name} is a number of at least 0, got {getattr(self, name)}")


class Difference(NamedTuple):
    """A figure of two rankers for the same users.

    Args:
        before: Of the first.
        after: Of the second.
        low: Where the difference, second less first, lies at least: the end of a bootstrap interval over users.
        high: Where it lies at most.
    """

    before: float
    after: float
    low: float
    high: float

    @property
    def change(self) -> float:
        """Second less first."""
        return self.after - self.before


@dataclass(frozen=True)
class Gate:
    """What came of one gate.

    Args:
        name: Of the gate.
        passed: Whether the version passes; None where there was nothing to measure, which stops nobody.
        told: One sentence, with the numbers.
        figures: The numbers.
        passes_at: The tolerance at which it would pass, of a gate that is not passed though nothing is shown against
            the version.
    """

    name: str
    passed: bool | None
    told: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    passes_at: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As an object."""
        return {"gate": self.name, "passed": self.passed, "told": self.told, **self.figures}


def cut_off(since: int | None, until: Mapping[str, int | None], known: Mapping[str, int]) -> Gate:
    """The window begins after all that either bundle knows.

    Args:
        since: The window's first timestamp; None where it could not be chosen.
        until: What "version 3" and the like know data until; None where that cannot be told.
        known: How many interactions of the window each knows, or may know.
    """
    name = "cut-off"
    for who, latest in until.items():
        if latest is None:
            return Gate(name, False, f"{who} does not say until when it knows interactions, so no window is later")
        if since is not None and latest >= since:
            overlap = f"{known[who]:,} of the window's interactions are not later"
            return Gate(
                name,
                False,
                f"{who} knows interactions until {told(latest)}, and the window begins at {told(since)}: {overlap}",
                {"known_until": latest, "since": since, "overlap": known[who]},
            )
    know = "knows" if len(until) == 1 else "know"
    return Gate(name, True, f"the window begins after all that {' and '.join(until)} {know}", {"since": since})


def golden(differences: Sequence[str], there_are: bool) -> Gate:
    """This machine computes what the bundle answered where it was made."""
    if not there_are:
        return Gate("golden", None, "the bundle has no golden requests: an earlier version wrote it")
    n = len(differences)
    if n:
        lists = "list is" if n == 1 else "lists are"
        return Gate("golden", False, f"{n} {lists} not what the bundle gave: {differences[0]}", {"differences": n})
    return Gate("golden", True, "golden requests are answered as where the bundle was made", {"differences": 0})


def index(recall: float, tolerances: Tolerances) -> Gate:
    """The index finds what exact search finds."""
    least = tolerances.index_recall
    sentence = f"the index finds {recall:.4f} of the exact best {tolerances.depth}, and {least:g} is the least"
    return Gate("index", recall >= least, sentence, {"recall": recall})


def signature(changes: Sequence[str]) -> Gate:
    """Requests that the champion takes are taken."""
    if changes:
        return Gate("signature", False, f"the champion's requests do not fit: {'; '.join(changes)}")
    return Gate("signature", True, "takes all requests that the champion takes")


def size(before: int, after: int, tolerances: Tolerances) -> Gate:
    """The bundle is not much larger."""
    ratio = after / max(before, 1)
    sentence = f"{after / 1e6:,.1f} MB are {ratio:.2f} times the champion's {before / 1e6:,.1f}, and"
    figures = {"bytes": after, "champion_bytes": before}
    return Gate("size", ratio <= tolerances.size, f"{sentence} {tolerances.size:g} times are allowed", figures)


def quality(name: str, found: Difference, users: int, tolerances: Tolerances) -> Gate:
    """A figure is shown to be no worse than the champion's.

    Args:
        name: Of the figure.
        found: The champion's figure and the version's.
        users: Of how many users.
        tolerances: What may be lost.
    """
    allowed = tolerances.quality * found.before
    passed, passes_at = found.low >= -allowed, None
    if passed:
        verdict = "it is shown to be better" if found.low > 0 else "it is shown to be no worse"
    elif found.high < 0:
        verdict = f"it is worse by {-found.change:.4f}"
    else:
        passes_at = -found.low / found.before
        verdict = f"a loss of up to {-found.low:.4f} is not ruled out, which is {-found.low - allowed:.4f} too much"
    sentence = f"{_compared(found, users)}; {allowed:.4f} may be lost: {verdict}"
    return Gate(name, passed, sentence, found._asdict(), passes_at)


def better(found: Mapping[str, Difference]) -> Gate:
    """At least one figure is shown to be better than the champion's.

    Args:
        found: The figures, with intervals that hold all of them at once: see `training.promotion.comparison`.
    """
    best = max(found, key=lambda name: found[name].low)
    told_of = ", ".join(f"{name} {one.change:+.4f} (at least {one.low:+.4f})" for name, one in found.items())
    figures = {f"{name}_low": one.low for name, one in found.items()}
    if found[best].low > 0:
        return Gate("better", True, f"{best} is shown to be better: {told_of}", figures)
    return Gate("better", False, f"no figure is shown to be better: {told_of}", figures)


def popularity(name: str, found: Difference, users: int) -> Gate:
    """A first version ranks better than what most have had."""
    verdict = "it is shown to be better" if found.low > 0 else f"it is not shown to be better, by {-found.low:.4f}"
    sentence = f"{_compared(found, users, 'popularity')}: {verdict}"
    return Gate("popularity", found.low > 0, f"{name} {sentence}", found._asdict())


def coverage(before: float, after: float, tolerances: Tolerances) -> Gate:
    """Not much less of the catalogue is recommended to anybody."""
    least = (1 - tolerances.coverage) * before
    sentence = (
        f"{after:.4f} of the catalogue is in some list of 10, the champion's {before:.4f}; {least:.4f} is the least"
    )
    return Gate("coverage", after >= least, sentence, {"before": before, "after": after})


def cold(found: Difference, users: int, tolerances: Tolerances) -> Gate:
    """Items that hardly anybody has had are not found much more rarely, as far as can be told."""
    below = tolerances.cold_below
    if not users:
        return Gate("cold items", None, f"the window has no item that fewer than {below} had before it")
    allowed = tolerances.cold * found.before
    sentence = f"recall of items that fewer than {below} had: {_compared(found, users)}; {allowed:.4f} may be lost"
    return Gate("cold items", found.high >= -allowed, sentence, found._asdict())


def latency(before: float, after: float, tolerances: Tolerances) -> Gate:
    """A request does not take much longer."""
    passed = after <= tolerances.latency * before or after - before <= tolerances.latency_ms
    sentence = (
        f"a request takes {after:.2f} ms, {after / before:.2f} times the champion's {before:.2f} ms; "
        f"{tolerances.latency:g} times, or {tolerances.latency_ms:g} ms more, are allowed"
    )
    return Gate("latency", passed, sentence, {"ms": after, "champion_ms": before})


def _compared(found: Difference, users: int, whose: str = "the champion's") -> str:
    """Both figures, and how sure their difference is."""
    return (
        f"{found.after:.4f} against {whose} {found.before:.4f}, {found.change:+.4f} (95%: {found.low:+.4f} to "
        f"{found.high:+.4f}, {users:,} users)"
    )
