"""A bundle's folder as a model that MLflow keeps: with the code that reads it, and without a pickle."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import mlflow
from mlflow.models.model import ModelInfo

import features
import recsys
import serving


def log_folder(folder: Path | str, code: Path, needed: Sequence[str], **given: Any) -> ModelInfo:
    """Logs a folder as a model of the active MLflow run.

    Args:
        folder: A bundle.
        code: The file that says how it answers.
        needed: What that needs, by distribution name.
        given: What else `mlflow.pyfunc.log_model` takes.
    """
    return mlflow.pyfunc.log_model(
        **{"name": "bundle", **given},
        python_model=str(code.resolve()),
        # the code goes with the model: the project need not be on the package index of whoever loads it
        code_paths=[package.__path__[0] for package in (features, recsys, serving)],
        artifacts={"bundle": str(folder)},
        # given, because MLflow would otherwise find out by running the model, for seconds
        pip_requirements=requirements(needed),
    )


def requirements(needed: Sequence[str]) -> list[str]:
    """What is installed here of some distributions, with versions."""
    found = []
    for name in needed:
        try:
            found.append(f"{name}=={version(name).partition('+')[0]}")
        except PackageNotFoundError:
            continue
    return found
