"""The folder of a run: what it may hold, and the state from which a run goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from features.errors import InputError
from training.config import as_dict, flat, load_config
from training.families import model_of

if TYPE_CHECKING:
    from training.tracking import TrackedRun
    from training.warm_start import WarmStart

#: what a run's folder may hold; nothing else in it is ever touched
_PICTURES = ("learning_curves", "comparison", "recall", "popularity", "item_map", "reliability")
_OURS = ("state.json", "config.yaml", "result.json", *(f"{name}.png" for name in _PICTURES))
_OUR_FOLDERS = ("checkpoints", "refit", "bundle", "encoder")


def open_folder(
    folder: Path,
    config: Any,
    facts: dict[str, Any],
    resume: bool,
    start: WarmStart | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Makes a run's folder, or opens it to go on.

    Args:
        folder: Where.
        config: The run's configuration.
        facts: Of the data: dataset_hash and split_hash among them.
        resume: Go on with the run that is there, if it is this one.
        start: What the run begins from, if not from random weights.
        say: Told where the files of a run that was finished are replaced.

    Returns:
        The run's state: the MLflow run and the epochs so far.

    Raises:
        InputError: The folder holds something else, another run, or the very bundle that this one begins from, or the
            text encoder that it reads texts by.
    """
    state = folder / "state.json"
    origin = None if start is None else {**start.origin, "source": start.fixed_source}
    if resume:
        return _resumed(config, folder, facts, origin)
    if start is not None and start.folder.is_relative_to(folder.resolve()):
        raise InputError(f"the run folder {folder} holds the bundle that the run begins from; name another")
    for reads in (getattr(config, "text", None), getattr(config, "model", None)):  # of models, matchers have one
        encoder = getattr(reads, "encoder", None)
        model = None if encoder is None else Path(encoder.model).expanduser().resolve()
        if model is not None and model.is_dir() and model.is_relative_to(folder.resolve()):
            raise InputError(
                f"the run folder {folder} holds the text encoder that the run reads texts by; name another"
            )
    if folder.exists() and not folder.is_dir():
        raise InputError(f"the run folder {folder} is a file; name another with --run-dir")
    if folder.exists() and any(folder.iterdir()) and not state.exists():
        raise InputError(f"the run folder {folder} holds files that are not a run's; name another with --run-dir")
    if (note := _replaced(folder)) is not None:
        say(note)
    try:
        for name in _OUR_FOLDERS:
            shutil.rmtree(folder / name, ignore_errors=True)
        for name in _OURS:
            (folder / name).unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(as_dict(config), sort_keys=False))
    except OSError as error:
        raise InputError(f"the run folder {folder} cannot be written: {error.strerror or error}") from None
    fresh: dict[str, Any] = {
        "model": model_of(config),
        "run_id": None,
        "epochs": [],
        "data": {key: facts[key] for key in ("dataset_hash", "split_hash")},
        "from": origin,
    }
    save_state(folder, fresh)
    return fresh


def tracked_run(
    folder: Path, state: dict[str, Any], config: Any, facts: dict[str, Any], experiment: str, name: str, uri: str | None
) -> TrackedRun:
    """The MLflow run of a run's folder, begun or gone on with, with its parameters and what is known of the data.

    Args:
        folder: Where the state is kept, which knows the MLflow run from now on.
        state: What `open_folder` gave.
        config: The run's configuration.
        facts: Of the data.
        experiment: MLflow's experiment.
        name: Of the run there.
        uri: MLflow's store.

    Raises:
        InputError: The store does not exist, or does not answer.
    """
    from training.tracking import TrackedRun, git_sha

    tracked = TrackedRun(experiment, name, state["run_id"], uri)
    state["run_id"] = tracked.id
    save_state(folder, state)
    tracked.parameters(flat(config))
    tracked.tags({**{key: str(value) for key, value in facts.items()}, "git_sha": git_sha()})
    return tracked


def began_from(folder: Path) -> str | None:
    """The source of the bundle that the run in a folder began from; None where it began anew, or there is no run."""
    try:
        return (json.loads((folder / "state.json").read_text()).get("from") or {}).get("source")
    except (OSError, ValueError, AttributeError):
        return None


def finish(folder: Path, result: dict[str, Any]) -> None:
    """Keeps what a run has found, in one step."""
    _written(folder / "result.json", json.dumps(result, indent=1))


def _replaced(folder: Path) -> str | None:
    """What is said before the files of a finished run are replaced; None where there is none."""
    try:
        version = json.loads((folder / "result.json").read_text())["figures"].get("version")
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    kept = "" if version is None else f"; version {version}, which it registered, keeps its own"
    return f"note: this run's files replace those of the finished run in {folder}{kept}; --run-dir names another folder"


def _resumed(config: Any, folder: Path, facts: dict[str, Any], origin: dict[str, Any] | None) -> dict[str, Any]:
    """The state of the run in a folder, if that run is this one."""
    try:
        state = json.loads((folder / "state.json").read_text())
    except (OSError, ValueError):
        raise InputError(f"there is no run in {folder} to resume") from None
    then, now = state.get("from"), origin
    if (then and then["build_id"]) != (now and now["build_id"]):
        was, given = (
            "from random weights" if one is None else f"from {one['source']} (build {one['build_id']})"
            for one in (then, now)
        )
        raise InputError(f"the run in {folder} began {was}, so it cannot be resumed {given}")
    earlier = load_config(folder / "config.yaml", kind=type(config))
    if earlier != config:
        now, then = flat(config), flat(earlier)
        changed = [
            f"{key} was {then.get(key)!r} and is {now.get(key)!r}"
            for key in sorted(now.keys() | then.keys())
            if now.get(key) != then.get(key)
        ]
        raise InputError(f"the run in {folder} cannot be resumed with other settings: {', '.join(changed)}")
    for key, value in state["data"].items():
        if facts[key] != value:
            raise InputError(f"the run in {folder} cannot be resumed: its data has another {key.replace('_', ' ')}")
    return state


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Writes a run's state in one step."""
    _written(folder / "state.json", json.dumps(state))


def _written(path: Path, text: str) -> None:
    aside = path.with_name(f"{path.name}.new")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
