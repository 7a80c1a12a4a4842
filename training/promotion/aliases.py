"""Registry aliases: `champion` is served, `challenger` is the newest candidate, `previous` is one step back.

Each move says on the version that becomes champion who made it, when and why. Whoever moves `champion` holds the lock
of `training.promotion.lock`, and reads the aliases once more when it has it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from features.errors import InputError
from serving.registered_versions import newest_of
from training.promotion.gates import Gate
from training.promotion.lock import promotion_lock
from training.promotion.record import AT, BACK_AT, BACK_BY, BACK_WHY, BY, GATES, WHY, now, told_of, who, write
from training.tracking import KNOWS_ASKING_TIME, connect

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"


@dataclass(frozen=True)
class Promotion:
    """What an alias move did.

    Args:
        name: The registered model.
        champion: The version that is champion now.
        previous: The version that `previous` points at now, if any.
        comparable: Whether the figures of both are of the same question; see
            `serving.bundles.manifest.Manifest.knows_asking_time`.
        gates: What the gates found, if it had to pass any.
        by: Who moved it,
        at: when (UTC, ISO 8601),
        why: and why.
    """

    name: str
    champion: str
    previous: str | None
    comparable: bool = True
    gates: tuple[Gate, ...] = field(default=(), compare=False)
    by: str = field(default="", compare=False)
    at: str = field(default="", compare=False)
    why: str = field(default="", compare=False)

    def __repr__(self) -> str:
        was = f" (previous: version {self.previous})" if self.previous else ""
        apart = "; note: only one of the two knew when each test item was asked for: do not compare their figures"
        return f"{self.name}: version {self.champion} is champion{was}" + ("" if self.comparable else apart)


def check_name(name: str | None) -> None:
    """Refuses what cannot be a registered model's name, before anything is done for it.

    Raises:
        InputError: The name is empty, or holds what addresses of models are made of.
    """
    if name is not None and not re.fullmatch(r"[^/:@]+", name):
        raise InputError(f"a registered model's name has no '/', ':' or '@', got {name!r}")


def challenge(name: str, version: str, uri: str | None = None) -> None:
    """Makes a version the challenger."""
    connect(uri, create=False).MlflowClient().set_registered_model_alias(name, CHALLENGER, version)


@dataclass(frozen=True)
class Candidates:
    """Whom a promotion is between.

    Args:
        chosen: The version that is to be champion.
        champion: The version that is, if any.
    """

    chosen: str
    champion: str | None


def candidates(name: str, version: str | None = None, uri: str | None = None) -> Candidates:
    """The version that is to be promoted, and the champion.

    Args:
        name: A registered model.
        version: The version; the challenger where not given, else the newest.
        uri: The tracking store; see `training.tracking.connect`.

    Raises:
        InputError: No such model or version, or the version is champion already.
    """
    client = connect(uri, create=False).MlflowClient()
    aliases = aliases_of(client, name)
    chosen = str(version or aliases.get(CHALLENGER) or newest_of(client, name).version)
    _tags(client, name, chosen)
    if aliases.get(CHAMPION) == chosen:
        raise InputError(f"version {chosen} of the model {name!r} is champion already")
    return Candidates(chosen, aliases.get(CHAMPION))


def move(
    name: str,
    between: Candidates,
    why: str,
    by: str | None = None,
    uri: str | None = None,
    gates: tuple[Gate, ...] = (),
    facts: Mapping[str, Any] | None = None,
) -> Promotion:
    """Makes a version champion; the champion that was becomes `previous`.

    Args:
        name: A registered model.
        between: What `candidates` gave, and what was compared since.
        why: In a few words; the version's tags keep it.
        by: Who; whoever runs this, where not given.
        uri: The tracking store; see `training.tracking.connect`.
        gates: What the version has passed.
        facts: What else the tag of the gates says, as JSON.

    Raises:
        InputError: Another version has become champion since, or somebody else is at it for too long.
    """
    mlflow = connect(uri, create=False)
    client = mlflow.MlflowClient()
    at, by = now(), by or who()
    with promotion_lock(client, mlflow.get_registry_uri(), name, by) as still_ours:
        champion = aliases_of(client, name).get(CHAMPION)
        if champion != between.champion:
            raise InputError(_overtaken(client, name, between, champion))
        asking = _tags(client, name, between.chosen).get(KNOWS_ASKING_TIME)
        comparable = champion is None or _tags(client, name, champion).get(KNOWS_ASKING_TIME) == asking
        still_ours()
        write(client, name, between.chosen, {BY: by, AT: at, WHY: why, GATES: told_of(gates, facts or {})})
        if champion is not None:  # first, so that there is always a way back
            client.set_registered_model_alias(name, PREVIOUS, champion)
        client.set_registered_model_alias(name, CHAMPION, between.chosen)
        if aliases_of(client, name).get(CHALLENGER) == between.chosen:
            client.delete_registered_model_alias(name, CHALLENGER)
    return Promotion(name, between.chosen, champion, comparable, gates, by, at, why)


def rollback(name: str, uri: str | None = None, why: str = "", by: str | None = None, undo: bool = False) -> Promotion:
    """Makes `previous` champion again, and the champion that was becomes `previous`.

    Nothing is measured: it is for when something is wrong with what is served. A version that was rolled back itself
    is what another rollback would lead to; whoever wants that says so, because of two who are called at night the
    second would otherwise bring back what the first took away.

    Args:
        name: A registered model.
        uri: The tracking store; see `training.tracking.connect`.
        why: In a few words, if any; the tags of both versions keep it.
        by: Who; whoever runs this, where not given.
        undo: Makes the version champion again that was rolled back, and no other.

    Raises:
        InputError: No such model, no version is `previous`, it was rolled back (or, to undo that, was not), or somebody
            else is at it for too long.
    """
    mlflow = connect(uri, create=False)
    client = mlflow.MlflowClient()
    at, by = now(), by or who()
    aliases_of(client, name)  # refuses unknown names before a lock is taken for them
    with promotion_lock(client, mlflow.get_registry_uri(), name, by) as still_ours:
        aliases = aliases_of(client, name)
        previous, champion = aliases.get(PREVIOUS), aliases.get(CHAMPION)
        if previous is None:
            raise InputError(f"the model {name!r} has no previous version to roll back to")
        tags = _tags(client, name, previous)
        if undo != (BACK_AT in tags):
            raise InputError(_not_back(name, previous, tags, undo))
        asking = tags.get(KNOWS_ASKING_TIME)
        comparable = champion is None or _tags(client, name, champion).get(KNOWS_ASKING_TIME) == asking
        what = f"undone: rollback of version {previous}" if undo else f"rollback of version {champion}"
        reason = what + (f": {why}" if why else "")
        still_ours()
        write(client, name, previous, {BY: by, AT: at, WHY: reason})
        if champion is not None and not undo:  # nothing was wrong with what an undone rollback led to
            write(client, name, champion, {BACK_BY: by, BACK_AT: at, BACK_WHY: why})
        client.set_registered_model_alias(name, CHAMPION, previous)
        if champion is not None:
            client.set_registered_model_alias(name, PREVIOUS, champion)
    return Promotion(name, previous, champion, comparable, by=by, at=at, why=reason)


def _not_back(name: str, previous: str, tags: Mapping[str, str], undo: bool) -> str:
    """Why `previous` does not become champion again."""
    what = f"version {previous} of the model {name!r}"
    if undo:
        return f"{what} is previous and was not rolled back, so there is no rollback to undo"
    why = f" ({tags[BACK_WHY]})" if tags.get(BACK_WHY) else ""
    return (
        f"{what} was rolled back by {tags.get(BACK_BY)} at {tags[BACK_AT]}{why}, and another rollback would make it "
        f"champion again: `recsys rollback {name} --undo` does, and `recsys promote {name} VERSION --no-gates --why "
        "TEXT` goes to any other version"
    )


def _overtaken(client, name: str, between: Candidates, now: str | None) -> str:
    """Who has moved the champion while a version was compared with it."""
    compared = f"version {between.champion}" if between.champion else "no champion"
    again = f"version {between.chosen} was compared with {compared}, so compare it again"
    if now is None:
        return f"version {between.champion} of the model {name!r} is champion no more: {again}"
    tags = _tags(client, name, now)
    if AT not in tags:
        return f"version {now} of the model {name!r} has become champion meanwhile: {again}"
    why = f" ({tags[WHY]})" if tags.get(WHY) else ""
    return f"{tags.get(BY)} made version {now} of the model {name!r} champion at {tags[AT]}{why}: {again}"


def aliases_of(client, name: str) -> dict[str, str]:
    """The aliases of a registered model, with the version that each names.

    Raises:
        InputError: There is no such model.
    """
    from mlflow.exceptions import MlflowException

    try:
        return {alias: str(version) for alias, version in client.get_registered_model(name).aliases.items()}
    except MlflowException as error:
        raise InputError(f"no model is registered under the name {name!r}") from error


def _tags(client, name: str, version: str) -> dict[str, str]:
    """A version's tags.

    Raises:
        InputError: There is no such version.
    """
    from mlflow.exceptions import MlflowException

    try:
        return dict(client.get_model_version(name, version).tags)
    except MlflowException as error:
        raise InputError(f"the model {name!r} has no version {version}") from error
