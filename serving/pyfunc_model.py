"""A bundle as an MLflow model, by models-from-code: MLflow stores this file and the folder, and pickles nothing.

It answers as `serving.candidates` does, because it calls it. MLflow checks every column of a request against the
signature, which takes longer than finding the candidates; a service of one's own is `serving.http.app`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.models.model import ModelInfo
from mlflow.pyfunc import PythonModel
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array

from features.errors import InputError
from recsys.interests import RetrieverKind
from serving.bundles.manifest import Manifest
from serving.bundles.packed import log_folder
from serving.candidates import CandidateGenerator

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
_PARAMETERS: dict[str, Any] = {
    "k": 10,
    "exclude_seen": True,
    "rerank": False,
    "rerank_depth": 100,
    "interests": "unimodal",
}
#: what MLflow calls the types of parameters
_TYPES = {bool: "boolean", int: "long", str: "string"}
_COLUMNS: dict[str, DataType | Array] = {
    "user_id": DataType.string,
    "history": Array(DataType.string),
    "history_times": Array(DataType.long),
    "asked_at": DataType.long,
}
_ANSWER: dict[str, str | Array] = {
    "user_id": "string",
    "source": "string",
    "item_ids": Array(DataType.string),
    "scores": Array(DataType.double),
    "unknown_history_items": "long",
}


class Retriever(PythonModel):
    """Candidates for a frame of users: columns user_id and history, either of which may be missing or null.

    To models that read times, the columns history_times and asked_at tell them.
    """

    def load_context(self, context: Any) -> None:
        """Loads the bundle."""
        self.generator = CandidateGenerator.load(context.artifacts["bundle"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row a user: user_id, source, item_ids (strings), scores, unknown_history_items."""
        params = params or {}
        unknown = sorted(set(params) - set(_PARAMETERS))
        if unknown:
            raise InputError(f"the parameter {unknown[0]!r} is unknown; the known ones are {', '.join(_PARAMETERS)}")
        there = [name for name in _COLUMNS if name in model_input.columns]
        given: dict[str, Any] = {name: [_value(one) for one in model_input[name]] for name in there}
        if not {"user_id", "history"} & set(given):
            raise InputError(
                f"the columns are {', '.join(map(str, model_input.columns))}; give user_id, history or both"
            )
        # times that are told of nobody are as a column that is not there
        times: dict[str, Any] = {
            name: given[name] for name in ("history_times", "asked_at") if any(map(_is_told, given.get(name, ())))
        }
        found = self.generator.recommend(
            given.get("user_id"),
            given.get("history"),
            **times,
            # MLflow gives numpy's types
            **{name: type(_PARAMETERS[name])(value) for name, value in params.items()},
        )
        lines = found.to_json()
        # as objects: pandas would make NaN, which is no JSON, of the id of a user without one
        return pd.DataFrame({name: pd.Series([line[name] for line in lines], dtype=object) for name in _ANSWER})


def signature(exclude_seen: bool = True, interests: RetrieverKind = "unimodal") -> ModelSignature:
    """What goes in and what comes out. Ids are strings, because JSON has no 64-bit integers.

    Args:
        exclude_seen: Its default: as the model was measured. MLflow's parameters have no null to stand for that.
        interests: Its default: the retriever that the bundle names.
    """
    parameters = {**_PARAMETERS, "exclude_seen": exclude_seen, "interests": interests}
    return ModelSignature(
        inputs=Schema([ColSpec(kind, name, required=False) for name, kind in _COLUMNS.items()]),
        outputs=Schema([ColSpec(kind, name, required=name != "user_id") for name, kind in _ANSWER.items()]),
        params=ParamSchema([ParamSpec(name, _TYPES[type(default)], default) for name, default in parameters.items()]),
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
    return log_folder(
        folder,
        Path(__file__),
        _REQUIREMENTS,
        name=name,
        signature=signature(manifest.removes_seen, manifest.retriever),
        input_example=(pd.DataFrame({"user_id": ["u1"], "history": [["i1", "i2"]]}), {"k": 10}),
        registered_model_name=registered_model_name,
        metadata={
            "kind": manifest.kind,
            "build_id": manifest.build_id,
            "refitted": manifest.refitted,
            "knows_asking_time": manifest.knows_asking_time,
        },
    )


def _value(value: Any) -> Any:
    """A cell as Python has it; None for what pandas takes for missing."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, str | list | tuple):
        return value
    if value is None or pd.isna(value):
        return None
    # pandas makes floats of whole numbers where one of a column is missing
    return int(value) if isinstance(value, np.integer) or (isinstance(value, float) and value.is_integer()) else value


def _is_told(value: Any) -> bool:
    return value is not None


mlflow.models.set_model(Retriever())
