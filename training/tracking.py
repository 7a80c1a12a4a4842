"""Runs in MLflow: parameters, per-epoch metrics, pictures, and exactly one model, the bundle."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, overload

from features.errors import InputError
from serving.resolve import be_impatient, tracking_store

# MLflow reports its use to its makers unless told not to
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# a bar for files that are copied within a second
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
be_impatient()

#: what a figure may depend on
LIBRARIES = ("torch", "torchrec", "fbgemm-gpu-cpu", "fbgemm-gpu", "pytorch-lightning", "polars", "numpy", "mlflow")


#: a registered version's tag: see `serving.bundles.manifest.Manifest.knows_asking_time`
KNOWS_ASKING_TIME = "knows_asking_time"
#: and another: of its bundle, so that whoever lists versions need fetch none
KIND = "kind"


def connect(uri: str | None = None, create: bool = True):
    """MLflow, pointed at `uri`, else at MLFLOW_TRACKING_URI, else at `mlflow.db` in this folder.

    Args:
        uri: The tracking store.
        create: Make an SQLite store that does not exist yet.

    Raises:
        InputError: The store does not exist, or does not answer.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    where = tracking_store(uri, create)
    mlflow.set_tracking_uri(where)
    try:
        mlflow.search_experiments(max_results=1)
    except (MlflowException, OSError) as error:
        raise InputError(f"the tracking store {where} does not answer: {_one_line(error)}") from error
    return mlflow


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def library_versions() -> dict[str, str]:
    """The versions of what a figure may depend on, and Python's."""
    found = {"python": platform.python_version()}
    for name in (*LIBRARIES, "faiss-cpu", "faiss-gpu"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_sha() -> str:
    """The commit of the source tree this runs from, with "+" where it has changes; empty outside a checkout."""
    here = Path(__file__).resolve().parent
    try:
        sha = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)
        dirty = subprocess.run(
            ["git", "status", "--porcelain", "-uno"], cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return sha.stdout.strip() + ("+" if dirty.stdout.strip() else "")


def metric_name(name: str) -> str:
    """A name that MLflow takes: "ndcg@10" -> "ndcg_at_10"."""
    return name.replace("@", "_at_")


class TrackedRun:
    """One MLflow run, started or gone on with.

    Args:
        experiment: Its experiment, made where it does not exist.
        name: What people call it.
        run_id: Of a run to go on with; None starts one.
        uri: The tracking store; see `connect`.
    """

    def __init__(self, experiment: str, name: str, run_id: str | None = None, uri: str | None = None) -> None:
        self._mlflow = connect(uri)
        if run_id is None:
            self._mlflow.set_experiment(experiment)
            self.run = self._mlflow.start_run(run_name=name)
        else:
            self.run = self._mlflow.start_run(run_id=run_id)
        self.id: str = self.run.info.run_id

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Logs parameters; MLflow keeps the first value of each, so going on with a run logs only the new ones."""
        known = self._mlflow.get_run(self.id).data.params
        self._mlflow.log_params({key: value for key, value in values.items() if key not in known})

    def tags(self, values: Mapping[str, Any]) -> None:
        """Sets tags, such as hashes and library versions."""
        self._mlflow.set_tags(dict(values))

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Logs metrics under names that MLflow takes."""
        self._mlflow.log_metrics({metric_name(key): float(value) for key, value in values.items()}, step=step)

    def file(self, path: Path, folder: str | None = None) -> None:
        """Logs a file, such as a picture or the configuration."""
        self._mlflow.log_artifact(str(path), artifact_path=folder)

    @overload
    def bundle(self, folder: Path, register: str) -> str: ...

    @overload
    def bundle(self, folder: Path, register: str | None = None) -> str | None: ...

    def bundle(self, folder: Path, register: str | None = None) -> str | None:
        """Logs a bundle as the run's model.

        Args:
            folder: The bundle.
            register: The registered model that it becomes a version of, if any.

        Returns:
            The version's number.
        """
        from serving.bundles.manifest import MATCHER
        from serving.bundles.sealed import read_manifest

        said = read_manifest(folder)
        if said.get("kind") == MATCHER:
            from serving.matching.pyfunc_model import log_bundle
        else:
            from serving.pyfunc_model import log_bundle
        with contextlib.redirect_stderr(io.StringIO()):  # where MLflow says what `register` says already
            logged = log_bundle(folder, registered_model_name=register)
        number = getattr(logged, "registered_model_version", None)
        if number is None:
            return None
        client = self._mlflow.MlflowClient()
        client.set_model_version_tag(register, str(number), KIND, str(said.get("kind")))
        if said.get("split", {}).get("knows_asking_time"):
            client.set_model_version_tag(register, str(number), KNOWS_ASKING_TIME, "true")
        return str(number)

    def finish(self, status: str = "FINISHED") -> None:
        """Ends the run."""
        self._mlflow.end_run(status=status)

    def __enter__(self) -> TrackedRun:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.finish("FINISHED" if kind is None else "KILLED" if kind is KeyboardInterrupt else "FAILED")
