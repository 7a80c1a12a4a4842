"""A version on trial: what it does with the window, beside the champion, and what each gate makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from features.dataset import Dataset
from features.errors import InputError
from serving.candidates import CandidateGenerator
from serving.checks import index_recall, signature_changes
from serving.golden import replay
from training.promotion import gates as gate
from training.promotion.aliases import Candidates
from training.promotion.figures import NDCG, difference, milliseconds, of_bundle, of_popularity
from training.promotion.gates import Gate, Tolerances
from training.promotion.registered import loaded
from training.promotion.remedies import past_the_data, ways_on
from training.promotion.window import Window, nothing_in


@dataclass(frozen=True)
class Trial:
    """What was found of a version.

    Args:
        gates: What each gate says.
        window: What it was asked; None where nothing could be.
        ways: What whoever is refused can do about it, where anything but a better version would help.
    """

    gates: tuple[Gate, ...]
    window: Window | None
    ways: str | None = None

    @property
    def failed(self) -> tuple[Gate, ...]:
        """The gates that it does not pass."""
        return tuple(one for one in self.gates if one.passed is False)


def try_out(
    name: str,
    between: Candidates,
    dataset: Dataset,
    since: int | None = None,
    tolerances: Tolerances | None = None,
    uri: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Trial:
    """Measures a version, beside the champion where there is one.

    What can be told without the window is told first; the window is not asked where one of the bundles knows it.

    Args:
        name: A registered model.
        between: The version, and the champion.
        dataset: Where the window is.
        since: Its first timestamp; just after all that both bundles know, where not given.
        tolerances: How much worse than the champion the version may be.
        uri: The tracking store.
        say: Called with a line when it begins to rank.

    Raises:
        InputError: Bundles or data that cannot be used.
    """
    tolerances = tolerances or Tolerances()
    challenger = loaded(name, between.chosen, uri)
    champion = None if between.champion is None else loaded(name, between.champion, uri)
    bundles = {f"version {between.chosen}": challenger}
    if champion is not None:
        bundles[f"version {between.champion} (the champion)"] = champion
    found = [
        gate.golden(replay(challenger), challenger.bundle.manifest.has_golden),
        gate.index(index_recall(challenger, tolerances.depth), tolerances),
    ]
    if champion is not None:
        found.append(gate.signature(signature_changes(champion.bundle, challenger.bundle)))
        found.append(gate.size(champion.bundle.manifest.bytes, challenger.bundle.manifest.bytes, tolerances))
    until = {who: one.bundle.manifest.data.get("known_until") for who, one in bundles.items()}
    stated = [one for one in until.values() if one is not None]
    earliest = max(stated) + 1 if len(stated) == len(until) else None
    manifests = {who: one.bundle.manifest for who, one in bundles.items()}
    times = dataset.interactions["timestamp"]
    exhausted = past_the_data(manifests, int(times.to_numpy().max())) if dataset.dated else None
    if since is None and earliest is not None:
        since = earliest
        if exhausted is not None:
            raise InputError(f"{nothing_in(dataset, since)}; {exhausted}")
    overlap = {who: int(times.is_between(since or 0, latest or 0).sum()) for who, latest in until.items()}
    cut_off = gate.cut_off(since, until, overlap)
    found.insert(0, cut_off)
    if since is None or not cut_off.passed:
        return Trial(tuple(found), None, exhausted)
    new_only = all(one.bundle.manifest.removes_seen for one in bundles.values())
    window = Window.of(dataset, since, new_only, tolerances.users, tolerances.cold_below)
    say(f"asking {' and '.join(bundles)} about {window}")
    found += _first(challenger, window, tolerances) if champion is None else _beside(
        champion, challenger, window, tolerances
    )  # fmt: skip
    failed = [one for one in found if one.passed is False]
    return Trial(tuple(found), window, ways_on(failed, window, earliest))


def _first(challenger: CandidateGenerator, window: Window, tolerances: Tolerances) -> list[Gate]:
    """What is asked of a version where there is no champion yet."""
    mine = of_bundle(challenger, window, tolerances.depth, tells_when=False)
    found = difference(NDCG, of_popularity(window), mine, tolerances.resamples)
    return [gate.popularity(NDCG, found, window.users)]


def _beside(
    champion: CandidateGenerator, challenger: CandidateGenerator, window: Window, tolerances: Tolerances
) -> list[Gate]:
    """What is asked of a version that is to take a champion's place."""
    # a model that is told when it is asked knows more than one that is not: both are told, or neither is
    tells_when = champion.bundle.reads_asking_time and challenger.bundle.reads_asking_time
    before, after = (of_bundle(one, window, tolerances.depth, tells_when) for one in (champion, challenger))
    recall = f"recall@{tolerances.depth}"
    questions = (NDCG, recall)
    found = [
        gate.quality(name, difference(name, before, after, tolerances.resamples), window.users, tolerances)
        for name in questions
    ]
    if tolerances.require_better:
        # the better of two by chance is better twice as often: each bound is as much surer (Bonferroni)
        level = 1 - 0.05 / len(questions)
        found.append(
            gate.better({name: difference(name, before, after, tolerances.resamples, level) for name in questions})
        )
    found.append(gate.coverage(before.coverage, after.coverage, tolerances))
    with_cold = before.counted(f"cold/{recall}")
    found.append(gate.cold(difference(f"cold/{recall}", before, after, tolerances.resamples), with_cold, tolerances))
    theirs, its = milliseconds((champion, challenger), window, tolerances.requests)
    found.append(gate.latency(theirs, its, tolerances))
    return found
