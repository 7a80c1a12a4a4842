"""A bundle as an MLflow model, by models-from-code: MLflow stores this file and the folder, and pickles nothing.

It answers as `serving.candidates` does, because it calls it. MLflow checks every column of a request against the
signature, which takes longer than finding the candidates; a service of one's own is `serving.app`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.models.model import ModelInfo
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array

import features
import recsys
import serving
from features.errors import InputError
from serving.candidates import CandidateGenerator
from serving.manifest import Manifest

#: what answering needs, by distribution name
_REQUIREMENTS = (
    "mlflow",
    "torch",
    "faiss-cpu",
    "faiss-gpu",
    "polars",
    "numpy",
    "pandas",
    "pydantic",
    "safetensors",
    "xxhash",
)
_PARAMETERS = {"k": 10, "exclude_seen": True, "rerank": False, "rerank_depth": 100}
_ANSWER = {
    "user_id": "string",
    "source": "string",
    "item_ids": Array(DataType.string),
    "scores": Array(DataType.double),
    "unknown_history_items": "long",
}


class Retriever(mlflow.pyfunc.PythonModel):
    """Candidates for a frame of users: columns user_id and history, either of which may be missing or null."""

    def load_context(self, context: Any) -> None:
        """Loads the bundle."""
        self.generator = CandidateGenerator.load(context.artifacts["bundle"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row a user: user_id, source, item_ids (strings), scores, unknown_history_items."""
        params = params or {}
        unknown = sorted(set(params) - set(_PARAMETERS))
        if unknown:
            raise InputError(f"the parameter {unknown[0]!r} is unknown; the known ones are {', '.join(_PARAMETERS)}")
        columns = [name for name in ("user_id", "history") if name in model_input.columns]
        if not columns:
            raise InputError(
                f"the columns are {', '.join(map(str, model_input.columns))}; give user_id, history or both"
            )
        found = self.generator.recommend(
            [_id_of(one) for one in model_input["user_id"]] if "user_id" in columns else None,
            [_history_of(one) for one in model_input["history"]] if "history" in columns else None,
            # MLflow gives numpy's types
            **{name: type(_PARAMETERS[name])(value) for name, value in params.items()},
        )
        lines = found.to_json()
        # as objects: pandas would make NaN, which is no JSON, of the id of a user without one
        return pd.DataFrame({name: pd.Series([line[name] for line in lines], dtype=object) for name in _ANSWER})


def signature() -> ModelSignature:
    """What goes in and what comes out. Ids are strings, because JSON has no 64-bit integers."""
    ids = Array(DataType.string)
    return ModelSignature(
        inputs=Schema([ColSpec("string", "user_id", required=False), ColSpec(ids, "history", required=False)]),
        outputs=Schema([ColSpec(kind, name, required=name != "user_id") for name, kind in _ANSWER.items()]),
        params=ParamSchema(
            [
                ParamSpec(name, "boolean" if isinstance(default, bool) else "long", default)
                for name, default in _PARAMETERS.items()
            ]
        ),
    )


def log_bundle(folder: Path | str, registered_model_name: str | None = None, name: str = "bundle") -> ModelInfo:
    """Logs a bundle as a model of the active MLflow run.

    Args:
        folder: A bundle.
        registered_model_name: Makes it the newest version of that registered model.
        name: Of the logged model.

    Raises:
        BundleError: The folder is no bundle.
    """
    manifest = Manifest.read(Path(folder))
    manifest.check_files(Path(folder))
    return mlflow.pyfunc.log_model(
        name=name,
        python_model=str(Path(__file__).resolve()),
        # the code goes with the model: the project need not be on the package index of whoever loads it
        code_paths=[str(Path(package.__file__).parent) for package in (features, recsys, serving)],
        artifacts={"bundle": str(folder)},
        signature=signature(),
        # given, because MLflow would otherwise find out by running the model, for seconds
        pip_requirements=requirements(),
        input_example=(pd.DataFrame({"user_id": ["u1"], "history": [["i1", "i2"]]}), {"k": 10, "exclude_seen": True}),
        registered_model_name=registered_model_name,
        metadata={"kind": manifest.kind, "build_id": manifest.build_id, "refitted": manifest.refitted},
    )


def requirements() -> list[str]:
    """What is installed here of what answering needs, with versions."""
    found = []
    for name in _REQUIREMENTS:
        try:
            found.append(f"{name}=={version(name).partition('+')[0]}")
        except PackageNotFoundError:
            continue
    return found


def _id_of(value: Any) -> str | int | None:
    """None for what pandas takes for missing."""
    return None if value is None or (not isinstance(value, str) and pd.isna(value)) else value


def _history_of(value: Any) -> Sequence[str | int] | None:
    return None if value is None or isinstance(value, float) else value


mlflow.models.set_model(Retriever())
