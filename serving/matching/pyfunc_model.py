"""A matcher as an MLflow model, by models-from-code: MLflow stores this file and the folder, and pickles nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.models.model import ModelInfo
from mlflow.pyfunc import PythonModel
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType

from features.errors import InputError
from serving.bundles.packed import log_folder
from serving.matching.manifest import MatcherManifest
from serving.matching.matcher import Matcher

#: what scoring needs, by distribution name
_REQUIREMENTS = (
    "mlflow",
    "torch",
    "transformers",
    "polars",
    "numpy",
    "scipy",
    "pandas",
    "pydantic",
    "safetensors",
    "matplotlib",
    "xxhash",
    "faiss-cpu",
    "faiss-gpu",
)
_SIDES = ("left", "right")


class PairMatcher(PythonModel):
    """Probabilities for a frame of pairs: columns left_title, right_title and so on, of each attribute of each side.

    Values are strings, numbers or lists of them; a null says nothing.
    """

    def load_context(self, context: Any) -> None:
        """Loads the bundle."""
        self.matcher = Matcher.load(context.artifacts["bundle"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row a pair: probability, log_odds, same. The parameter `precision` is a wanted one, 0 for the best F1."""
        attributes = self.matcher.manifest.attributes
        known = columns(attributes)
        other = [one for one in model_input.columns if one not in known]
        if other:
            raise InputError(f"the column {other[0]!r} is unknown; the known ones are {', '.join(known)}")
        told = [
            [
                {name: _value(row[f"{side}_{name}"]) for name in attributes if f"{side}_{name}" in row}
                for row in model_input.to_dict("records")
            ]
            for side in _SIDES
        ]
        precision = (params or {}).get("precision") or None
        return self.matcher.score(self.matcher.pairs(*told), precision).frame().to_pandas()


def columns(attributes: Sequence[str]) -> list[str]:
    """What the columns of a frame of pairs are called."""
    return [f"{side}_{name}" for side in _SIDES for name in attributes]


def signature(attributes: Sequence[str]) -> ModelSignature:
    """What goes in and what comes out. A column that is not there would be a spelling mistake that scores pairs."""
    answer = {"probability": "double", "log_odds": "double", "same": "boolean"}
    return ModelSignature(
        inputs=Schema([ColSpec(AnyType(), one) for one in columns(attributes)]),
        outputs=Schema([ColSpec(kind, name) for name, kind in answer.items()]),
        params=ParamSchema([ParamSpec("precision", "double", 0.0)]),
    )


def log_bundle(folder: Path | str, registered_model_name: str | None = None) -> ModelInfo:
    """Logs a matcher as a model of the active MLflow run.

    Args:
        folder: A bundle.
        registered_model_name: Makes it the newest version of that registered model.

    Raises:
        BundleError: The folder is no matcher.
    """
    manifest = MatcherManifest.read(Path(folder))
    manifest.check_files(Path(folder))
    return log_folder(
        folder,
        Path(__file__),
        _REQUIREMENTS,
        signature=signature(manifest.attributes),
        input_example=(pd.DataFrame({one: ["..."] for one in columns(manifest.attributes)}), {"precision": 0.0}),
        registered_model_name=registered_model_name,
        metadata={"kind": manifest.kind, "build_id": manifest.build_id},
    )


def _value(value: Any) -> Any:
    """A cell as Python has it; None for what pandas takes for missing."""
    return None if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)) else value


mlflow.models.set_model(PairMatcher())
