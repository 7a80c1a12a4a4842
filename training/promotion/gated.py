"""Promotion: a version is tried on what has happened since, and becomes champion if it passes every gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from features.dataset import Dataset
from features.errors import InputError
from training.promotion.aliases import Candidates, Promotion, candidates, move
from training.promotion.comparison import Trial, try_out
from training.promotion.gates import Gate, Tolerances
from training.promotion.registered import check_whole


class Refused(InputError):
    """A version that does not pass; says which gates, and by how much.

    Args:
        message: One sentence.
        gates: What all gates say.
        brief: The sentence without what the gates say, for whoever shows that beside it.
    """

    def __init__(self, message: str, gates: Sequence[Gate], brief: str) -> None:
        super().__init__(message)
        self.gates, self.brief = tuple(gates), brief


def promote(
    name: str,
    version: str | None = None,
    *,
    dataset: Dataset,
    since: int | None = None,
    tolerances: Tolerances | None = None,
    why: str = "",
    by: str | None = None,
    uri: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Promotion:
    """Makes a version champion if it passes every gate; the champion that was becomes `previous`.

    Args:
        name: A registered model.
        version: The version; the challenger where not given, else the newest.
        dataset: Interactions, those among them that are later than what version and champion know.
        since: From which timestamp on they count; just after all that both know, where not given.
        tolerances: How much worse than the champion it may be.
        why: In a few words; the version's tags keep it, with who, when, and what the gates found.
        by: Who; whoever runs this, where not given.
        uri: The tracking store; see `training.tracking.connect`.
        say: Called with a line about what is asked.

    Raises:
        Refused: A gate is not passed.
        InputError: No such model or version, it is champion already, data that cannot be used, or another version has
            become champion meanwhile.
    """
    between = candidates(name, version, uri)
    trial = try_out(name, between, dataset, since, tolerances, uri, say)
    if trial.failed:
        raise Refused(refusal(name, between, trial), trial.gates, refusal(name, between, trial, brief=True))
    return move(name, between, why, by, uri, trial.gates, _facts(between, trial))


def promote_ungated(
    name: str, version: str | None = None, *, why: str, by: str | None = None, uri: str | None = None
) -> Promotion:
    """Makes a version champion without measuring anything; its tags say so, and why.

    That its files are those that were written, and that it can be loaded, is checked all the same: a service would
    refuse it otherwise.

    Args:
        name: A registered model.
        version: The version; the challenger where not given, else the newest.
        why: In a few words.
        by: Who; whoever runs this, where not given.
        uri: The tracking store.

    Raises:
        InputError: No reason, no such model or version, it is champion already, it is damaged, or another has become
            champion.
    """
    if not why.strip():
        raise InputError("a promotion without gates needs a reason, which the version's tags keep: --why TEXT")
    between = candidates(name, version, uri)
    check_whole(name, between.chosen, uri)
    return move(name, between, why, by, uri)


def refusal(name: str, between: Candidates, trial: Trial, brief: bool = False) -> str:
    """Which gates a version does not pass, by how much unless it is to be brief, and what can be done, in one line."""
    failed = trial.failed
    stays = f"version {between.champion} stays champion" if between.champion else "there is still no champion"
    told = ", ".join(one.name for one in failed) if brief else "; ".join(f"{one.name}: {one.told}" for one in failed)
    ways = f"; {trial.ways}" if trial.ways else ""
    gates = "gate" if len(failed) == 1 else f"{len(failed)} gates"
    return f"version {between.chosen} of {name!r} does not pass the {gates} {told}; {stays}{ways}"


def _facts(between: Candidates, trial: Trial) -> dict[str, object]:
    window = trial.window
    if window is None:
        return {}
    return {
        "champion": between.champion,
        "since": window.since,
        "until": window.until,
        "users": window.users,
        "window": window.sha256[:16],
    }
