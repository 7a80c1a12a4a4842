"""From the name of a model to the folder of one immutable version of it.

An alias is looked up once, and what is loaded is the folder of the version that it pointed at: were the alias moved
during loading, parts of two models could otherwise meet. MLflow is imported here, for a name of its registry, and
nowhere else in serving.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from features.errors import InputError
from serving.naming import Resolved, Unfetched
from serving.registered_versions import newest_first, newest_of
from serving.registry_refusals import refusal
from serving.sqlite_registry import look_up

DEFAULT_URI = "sqlite:///mlflow.db"
_NAME = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>[0-9]+))?")
#: models or versions that are named beside one that is not there
_NAMED = 5
_MODEL_ID = re.compile(r"models:/(m-[0-9a-zA-Z]+)")


def names_alias(source: str | Path) -> bool:
    """Whether a source is a model's alias, which may name another version tomorrow."""
    match = _NAME.fullmatch(str(source))
    return match is not None and match["alias"] is not None


def resolve(source: str | Path, tracking_uri: str | None = None, held: str | None = None) -> Resolved:
    """Finds a model.

    Args:
        source: "models:/NAME@ALIAS", "models:/NAME/VERSION", "models:/NAME" (its newest version), or a bundle's folder.
        tracking_uri: Where models are registered; MLFLOW_TRACKING_URI, else sqlite:///mlflow.db, where not given.
        held: The id of a logged model that is not to be downloaded now.

    Raises:
        Unfetched: The version that is named cannot be downloaded, is not to be, or is no bundle.
        InputError: No such model, alias, version or folder.
    """
    return at_once(source, tracking_uri) or _registered(*_parts(source), store=tracking_store(tracking_uri), held=held)


def resolve_aside(source: str | Path, tracking_uri: str | None = None) -> Callable[[], Resolved]:
    """As `resolve`, but where MLflow has to be asked, a process of its own does it, while this one imports torch.

    Args:
        source: See `resolve`.
        tracking_uri: See `resolve`.

    Returns:
        Waits for the answer, and raises what `resolve` would.
    """
    found = at_once(source, tracking_uri)
    if found is not None:
        return lambda: found
    command = [sys.executable, "-m", "serving.resolve", str(source), *([tracking_uri] if tracking_uri else [])]
    return partial(_answer_of, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))


def _answer_of(process: subprocess.Popen[str]) -> Resolved:
    out, errors = process.communicate()
    try:
        answer = json.loads(out.strip().splitlines()[-1])
    except (ValueError, IndexError):
        last = (errors.strip().splitlines() or ["nothing was said"])[-1]
        raise InputError(f"the model registry could not be asked: {last[:300]}") from None
    if "error" in answer:
        raise InputError(answer["error"])
    return Resolved(**{**answer, "folder": Path(answer["folder"])})


def at_once(source: str | Path, tracking_uri: str | None) -> Resolved | None:
    """A folder, or a registered model that is found without MLflow; None where MLflow has to be asked."""
    if not str(source).startswith("models:"):
        folder = Path(source).expanduser()
        if not folder.is_dir():
            raise InputError(f"there is no bundle at {source}: not a folder (registered models are models:/NAME@ALIAS)")
        return Resolved(folder, _name_of(folder))
    name, alias, version = _parts(source)
    found = look_up(tracking_store(tracking_uri), name, alias, version)
    if found is None or (here := _local(found.location)) is None:
        return None
    return _bundle_in(Resolved(here, name, found.version, found.model_id))


def _parts(source: str | Path) -> tuple[str, str | None, str | None]:
    """A registered model's name, and the alias or the version that is asked for."""
    match = _NAME.fullmatch(str(source))
    if match is None:
        raise InputError(f"{str(source)!r} is not of the form models:/NAME@ALIAS, models:/NAME/VERSION or models:/NAME")
    return match["name"], match["alias"], match["version"]


def tracking_store(tracking_uri: str | None = None, create: bool = False) -> str:
    """MLflow's store: what is given, else MLFLOW_TRACKING_URI, else `mlflow.db` in this folder.

    Args:
        tracking_uri: The store.
        create: An SQLite store need not exist yet.

    Raises:
        InputError: It does not exist; MLflow would make an empty one, in which nothing is found.
    """
    where = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    path = where.removeprefix("sqlite:///").partition("?")[0]
    if not create and where.startswith("sqlite:///") and not Path(path).is_file():
        here = "" if Path(path).is_absolute() else f" in {Path.cwd()}"
        raise InputError(
            f"the model registry {where} does not exist{here}; run this where it is, or name it by --tracking-uri or "
            "MLFLOW_TRACKING_URI; `recsys train MODEL --register NAME` makes one"
        )
    return where


def be_impatient() -> None:
    """MLflow asks a server that does not answer for four minutes, unless it is told otherwise before it is imported."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")


def _registered(name: str, alias: str | None, version: str | None, store: str, held: str | None) -> Resolved:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    be_impatient()
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    for noisy in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        client = MlflowClient(tracking_uri=store, registry_uri=store)
        found = _version(client, name, alias, version)
        model_id = _MODEL_ID.fullmatch(found.source or "")
        if model_id is None:
            raise InputError(f"version {found.version} of the model {name!r} was not logged as a model of MLflow 3")
        location = client.get_logged_model(model_id[1]).artifact_location
    except MlflowException as error:
        raise InputError(refusal(error, name, alias, version, store, _known(error, name, store))) from error
    named = Resolved(Path(location), name, str(found.version), model_id[1])
    return _bundle_in(dataclasses.replace(named, folder=_fetched(location, named, store, held)))


def _version(client: Any, name: str, alias: str | None, version: str | None) -> Any:
    if alias is not None:
        return client.get_model_version_by_alias(name, alias)
    if version is not None:
        return client.get_model_version(name, version)
    client.get_registered_model(name)  # refuses unknown names
    return newest_of(client, name)


def _known(error: Exception, name: str, store: str) -> list[str]:
    """What there is, to be named beside what is not: a model's aliases or newest versions, or some other models."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(store, store)
    try:
        if "alias" in str(error).lower():
            return list(client.get_registered_model(name).aliases)
        if getattr(error, "error_code", "") != "RESOURCE_DOES_NOT_EXIST":
            return []
        if "Version" in str(error):
            return [f"version {one.version}" for one in newest_first(client, name)[:_NAMED]]
        return [repr(one.name) for one in client.search_registered_models(max_results=_NAMED)]
    except MlflowException:
        return []


def _fetched(location: str, named: Resolved, store: str, held: str | None) -> Path:
    """The logged model's folder: where it lies if that is this machine, else a copy that is kept."""
    if (here := _local(location)) is not None:
        return here
    from mlflow.artifacts import download_artifacts

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recsys" / "models"
    assert named.model_id is not None
    kept, part = cache / named.model_id, None
    if kept.is_dir():
        return kept
    what = f"version {named.version} of the model {named.name!r} at {location}"
    if held == named.model_id:
        raise Unfetched(f"{what} is not fetched now", named, False)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        part = tempfile.mkdtemp(prefix=f".{named.model_id}.", dir=cache)
        os.rename(download_artifacts(artifact_uri=location, dst_path=part, tracking_uri=store), kept)
    except Exception as error:  # a full disk, a network, or whatever the client of a store of artifacts raises
        if not kept.is_dir():  # else another process was faster
            why = " ".join(str(error).split())[:300] or type(error).__name__
            raise Unfetched(f"{what} cannot be fetched: {why}", named, False) from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
    return kept


def _local(location: str) -> Path | None:
    """The folder that a location names, if it is one of this machine."""
    parts = urlsplit(location)
    path = Path(unquote(parts.path) if parts.scheme == "file" else location)
    return path if path.is_dir() else None


def _bundle_in(logged: Resolved) -> Resolved:
    """The bundle inside a logged model's folder."""
    found = sorted((logged.folder / "artifacts").glob("*/manifest.json"))
    if len(found) != 1:
        raise Unfetched(f"{logged.told} holds {len(found)} bundles, not one", logged, True)
    return dataclasses.replace(logged, folder=found[0].parent)


def _name_of(folder: Path) -> str:
    """The name that a bundle gives itself, else its folder's; whether it can be used is found out on loading."""
    try:
        return json.loads((folder / "manifest.json").read_text(encoding="utf-8")).get("name") or folder.resolve().name
    except (OSError, ValueError, AttributeError, RecursionError):
        return folder.resolve().name


if __name__ == "__main__":
    try:
        answer: dict[str, Any] = dataclasses.asdict(resolve(*sys.argv[1:3]))
    except InputError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer, default=str))
