"""Registry aliases: `champion` is served, `challenger` is the newest candidate, `previous` is one step back."""

from __future__ import annotations

from dataclasses import dataclass

from features.errors import InputError
from training.tracking import connect

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"


@dataclass(frozen=True)
class Promotion:
    """What an alias move did.

    Args:
        name: The registered model.
        champion: The version that is champion now.
        previous: The version that `previous` points at now, if any.
    """

    name: str
    champion: str
    previous: str | None

    def __str__(self) -> str:
        was = f" (previous: version {self.previous})" if self.previous else ""
        return f"{self.name}: version {self.champion} is champion{was}"


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
    _require(client, name, chosen)
    champion = aliases.get(CHAMPION)
    if champion == chosen:
        raise InputError(f"version {chosen} of the model {name!r} is champion already")
    if champion is not None:  # first, so that there is always a way back
        client.set_registered_model_alias(name, PREVIOUS, champion)
    client.set_registered_model_alias(name, CHAMPION, chosen)
    if aliases.get(CHALLENGER) == chosen:
        client.delete_registered_model_alias(name, CHALLENGER)
    return Promotion(name, chosen, champion)


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
    _require(client, name, previous)
    client.set_registered_model_alias(name, CHAMPION, previous)
    if champion is not None:
        client.set_registered_model_alias(name, PREVIOUS, champion)
    return Promotion(name, previous, champion)


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


def _require(client, name: str, version: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.get_model_version(name, version)
    except MlflowException as error:
        raise InputError(f"the model {name!r} has no version {version}") from error
