"""What is registered: models, their versions, and of each version what is known without fetching or loading it."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from features.errors import InputError
from serving.registered_versions import newest_first
from training.promotion.aliases import check_name
from training.promotion.record import AT, BACK_AT, BACK_BY, BACK_WHY, BY, GATES, WHY
from training.tracking import KIND, connect, metric_name

#: what people ask of a version first: of recommenders, of matchers, of rankers
_MAIN = ("ndcg@10", "hr@10", "f1", "precision", "recall", "auc")
_MOST_NAMED = 20


@dataclass(frozen=True)
class Registered:
    """A version of a registered model.

    Args:
        version: Its number.
        aliases: Which name it now, in alphabetical order.
        created: When it was registered (UTC, ISO 8601).
        kind: Of its bundle, such as "retriever" or "matcher"; None where neither the registry nor a file here says it.
        split: How the data that it was measured on was split, if that is known.
        figures: The main ones of its test part, as its bundle or its run has them.
        run_id: MLflow's run that has made it.
        promotion: Who made it champion, when and why, and what the gates found, by the tags' names; none where nobody.
        rolled_back: Who took it back, when and why, likewise.
    """

    version: str
    aliases: tuple[str, ...]
    created: str
    kind: str | None = None
    split: str | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    run_id: str | None = None
    promotion: Mapping[str, Any] = field(default_factory=dict)
    rolled_back: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As an object, in which what is not known is null."""
        told: dict[str, Any] = {
            "version": self.version,
            "aliases": list(self.aliases),
            "created": self.created,
            "kind": self.kind,
        }
        told |= {"split": self.split, "figures": dict(self.figures), "run_id": self.run_id}
        return told | {"promotion": dict(self.promotion) or None, "rolled_back": dict(self.rolled_back) or None}


@dataclass(frozen=True)
class Model:
    """A registered model.

    Args:
        name: Its name.
        kind: Of its newest version.
        versions: How many there are.
        newest: The newest one; None of a model without any.
        aliases: The version that each names.
    """

    name: str
    kind: str | None
    versions: int
    newest: str | None
    aliases: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """As an object."""
        return {
            "name": self.name,
            "kind": self.kind,
            "versions": self.versions,
            "newest": self.newest,
            "aliases": dict(self.aliases),
        }


def models(uri: str | None = None) -> list[Model]:
    """All registered models, by name.

    Raises:
        InputError: There is no registry, or it does not answer.
    """
    client = _client(uri)
    found = []
    for one in _registered(client):
        versions = newest_first(client, one.name)
        newest = versions[0] if versions else None
        kind = None if newest is None else _kind(newest.tags, _manifest(client, newest))
        aliases = {alias: str(version) for alias, version in sorted(one.aliases.items())}
        found.append(Model(one.name, kind, len(versions), str(newest.version) if newest else None, aliases))
    return sorted(found, key=lambda one: one.name)


def versions_of(name: str, uri: str | None = None) -> list[Registered]:
    """The versions of a registered model, the newest first.

    Raises:
        InputError: There is no registry, or no such model in it: the sentence names those that there are.
    """
    check_name(name)
    client = _client(uri)
    there = {one.name: one.aliases for one in _registered(client)}
    if name not in there:
        names = sorted(there)
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        known = f"there are {', '.join(names[:_MOST_NAMED])}{more}" if names else "there is none yet"
        raise InputError(f"no model is registered under the name {name!r}; {known}")
    return [_told(client, one, there[name]) for one in newest_first(client, name)]


def _client(uri: str | None) -> Any:
    return connect(uri, create=False).MlflowClient()


def _registered(client: Any) -> list[Any]:
    """MLflow's registered models, of all pages."""
    found: list[Any] = []
    token = None
    while token != "":
        page = client.search_registered_models(page_token=token)
        found, token = [*found, *page], page.token or ""
    return found


def _told(client: Any, one: Any, aliases: Mapping[str, Any]) -> Registered:
    """All that is known of a version."""
    manifest, run = _manifest(client, one), _run(client, one.run_id)
    figures = manifest.get("metrics") or {}
    split = (manifest.get("split") or {}).get("name")
    if run is not None:
        figures = figures or {name: run.metrics.get(f"test/{metric_name(name)}") for name in _MAIN}
        split = split or run.tags.get("split")
    tags = dict(one.tags)
    promotion: dict[str, Any] = {name: tags[name] for name in (BY, AT, WHY) if name in tags}
    if GATES in tags:
        promotion[GATES] = tags[GATES]
        with suppress(ValueError):  # "none" where there were none
            promotion[GATES] = json.loads(tags[GATES])
    return Registered(
        version=str(one.version),
        aliases=tuple(sorted(alias for alias, version in aliases.items() if str(version) == str(one.version))),
        created=_moment(one.creation_timestamp),
        kind=_kind(tags, manifest),
        split=split,
        figures={name: float(figures[name]) for name in _MAIN if isinstance(figures.get(name), int | float)},
        run_id=one.run_id or None,
        promotion=promotion,
        rolled_back={name: tags[name] for name in (BACK_BY, BACK_AT, BACK_WHY) if name in tags},
    )


def _kind(tags: Mapping[str, str], manifest: Mapping[str, Any]) -> str | None:
    return tags.get(KIND) or manifest.get("kind")


def _run(client: Any, run_id: str | None) -> Any:
    """What a run has, if it is still there."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id).data if run_id else None
    except MlflowException:
        return None


def _manifest(client: Any, one: Any) -> dict[str, Any]:
    """What a version's manifest says; nothing where its files are not on this machine, or are no bundle."""
    from mlflow.exceptions import MlflowException

    model_id = str(one.source or "").removeprefix("models:/")
    try:
        location = client.get_logged_model(model_id).artifact_location if model_id.startswith("m-") else ""
    except MlflowException:
        return {}
    parts = urlsplit(str(location))
    folder = Path(unquote(parts.path) if parts.scheme == "file" else str(location))
    for file in folder.glob("artifacts/*/manifest.json") if location and folder.is_dir() else ():
        with suppress(OSError, ValueError):
            said = json.loads(file.read_text(encoding="utf-8"))
            return said if isinstance(said, dict) else {}
    return {}


def _moment(milliseconds: int) -> str:
    return datetime.datetime.fromtimestamp(milliseconds // 1000, datetime.UTC).isoformat(timespec="seconds")
