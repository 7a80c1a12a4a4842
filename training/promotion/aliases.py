"""Registry aliases: `champion` is served, `challenger` is the newest candidate, `previous` is one step back."""

from __future__ import annotations

import re
from dataclasses import dataclass

from features.errors import InputError
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
    """

    name: str
    champion: str
    previous: str | None
    comparable: bool = True

    def __str__(self) -> str:
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


def promote(name: str, version: str | None = None, uri: str | None = None) -> Promotion:
    """Makes a version champion; the champion that was becomes `previous`.

    Args:
        name: A registered model.
        version: The version; the challenger where not given, else the newest.
        uri: The tracking store; see `training.tracking.connect`.

    Raises:
        InputError: No such model or version, or the version is champion already.
    """
    client = connect(uri, create=False).MlflowClient()
    aliases = _aliases(client, name)
    chosen = version or aliases.get(CHALLENGER) or _newest(client, name)
    asking = _asking(client, name, chosen)
    champion = aliases.get(CHAMPION)
    if champion == chosen:
        raise InputError(f"version {chosen} of the model {name!r} is champion already")
    if champion is not None:  # first, so that there is always a way back
        client.set_registered_model_alias(name, PREVIOUS, champion)
    client.set_registered_model_alias(name, CHAMPION, chosen)
    if aliases.get(CHALLENGER) == chosen:
        client.delete_registered_model_alias(name, CHALLENGER)
    return Promotion(name, chosen, champion, champion is None or _asking(client, name, champion) == asking)


def rollback(name: str, uri: str | None = None) -> Promotion:
    """Makes `previous` champion again, and the champion that was becomes `previous`: a second call undoes the first.

    Raises:
        InputError: No such model, or no version is `previous`.
    """
    client = connect(uri, create=False).MlflowClient()
    aliases = _aliases(client, name)
    previous, champion = aliases.get(PREVIOUS), aliases.get(CHAMPION)
    if previous is None:
        raise InputError(f"the model {name!r} has no previous version to roll back to")
    asking = _asking(client, name, previous)
    client.set_registered_model_alias(name, CHAMPION, previous)
    if champion is not None:
        client.set_registered_model_alias(name, PREVIOUS, champion)
    return Promotion(name, previous, champion, champion is None or _asking(client, name, champion) == asking)


def _aliases(client, name: str) -> dict[str, str]:
    from mlflow.exceptions import MlflowException

    try:
        return {alias: str(version) for alias, version in client.get_registered_model(name).aliases.items()}
    except MlflowException as error:
        raise InputError(f"no model is registered under the name {name!r}") from error


def _newest(client, name: str) -> str:
    versions = [int(one.version) for one in client.search_model_versions(f"name='{name}'")]
    if not versions:
        raise InputError(f"the model {name!r} has no version")
    return str(max(versions))


def _asking(client, name: str, version: str) -> str | None:
    """Whether the figures of a version know when test items were asked for: "true", or None.

    Raises:
        InputError: There is no such version.
    """
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version(name, version).tags.get(KNOWS_ASKING_TIME)
    except MlflowException as error:
        raise InputError(f"the model {name!r} has no version {version}") from error
