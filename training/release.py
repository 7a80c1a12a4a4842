"""From a fitted model to the bundle that is measured, registered and served."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import InputError
from features.prepared import Prepared
from recsys.retrievers import Retriever
from serving.bundles.bundle import Bundle, with_metrics
from serving.bundles.manifest import Manifest
from serving.bundles.writer import write_bundle
from training.bundle_evaluation import BundleAnswers, evaluate_bundle
from training.evaluation import METRICS
from training.tracking import git_sha, library_versions

if TYPE_CHECKING:
    from training.families import RunConfig

#: of models that read when they are asked
ASKING_TIME = (
    "these figures know when each test item was asked for, and those of models that are not told, the baselines among "
    "them, do not: they cannot be compared"
)

#: the figures whose loss by quantisation the manifest states
_COMPARED = ("hr@10", "ndcg@10")


def release(
    folder: Path, config: RunConfig, prepared: Prepared, model: Retriever
) -> tuple[dict[str, float], BundleAnswers]:
    """Writes a bundle, loads it, measures it on the test part, and writes the figures into its manifest.

    A quantised bundle is measured as it is; the same model is measured in fp32 as well, so that its manifest says what
    the precision costs.

    Args:
        folder: The bundle's.
        config: The run's configuration.
        prepared: What the model was fitted on.
        model: The fitted model.

    Returns:
        The official figures, and the answers that they are of.
    """
    origin, facts = _origin(prepared), {}
    write_bundle(folder, model, prepared, config.index, config.bundle.precision, config.text, **origin)
    answers = BundleAnswers.of(folder, prepared)
    figures = answers.figures()
    if config.bundle.precision != "fp32":
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", suffix=".fp32", dir=folder.parent) as aside:
            whole = evaluate_bundle(write_bundle(Path(aside) / "bundle", model, prepared, config.index), prepared)
        facts = {"fp32_metrics": whole, "precision_loss": relative_loss(figures, whole)}
    with_metrics(folder, figures, **facts)
    return figures, answers


def relative_loss(figures: dict[str, float], whole: dict[str, float]) -> dict[str, float]:
    """Which share of the fp32 figures a quantised model has lost; negative where it has gained.

    Example:
        >>> relative_loss({"hr@10": 0.099, "ndcg@10": 0.05}, {"hr@10": 0.1, "ndcg@10": 0.05})
        {'hr@10': 0.010000000000000009, 'ndcg@10': 0.0}
    """
    return {name: 1 - figures[name] / whole[name] if whole[name] else 0.0 for name in _COMPARED}


def release_refitted(
    folder: Path,
    config: RunConfig,
    everything: Prepared,
    model: Retriever,
    measured: Prepared,
    figures: dict[str, float],
) -> Path:
    """Writes the bundle of a model that was fitted on all data; its manifest says so.

    Args:
        folder: The bundle's.
        config: The run's configuration.
        everything: All interactions as training data.
        model: The model fitted on them.
        measured: The data and split that the settings were measured with.
        figures: The official figures of that measurement: what is known of the quality of a model made this way.
    """
    before = Manifest.read(folder)  # of the bundle that was measured, and is now replaced
    return write_bundle(
        folder,
        model,
        everything,
        config.index,
        config.bundle.precision,
        config.text,
        refitted=True,
        metrics=figures,
        fp32_metrics=before.fp32_metrics,
        precision_loss=before.precision_loss,
        split=before.split,
        **_origin(measured),
    )


def _origin(prepared: Prepared) -> dict[str, Any]:
    """What the manifest says of where the bundle comes from."""
    return {"name": prepared.dataset.name, "libraries": library_versions(), "git_sha": git_sha()}


def load_model(folder: Path) -> Retriever:
    """The model inside a bundle, in evaluation mode."""
    return Bundle.load(folder).model


def note_on_comparing(folder: Path, prepared: Prepared) -> str | None:
    """Why figures of a bundle on this data may not be what they seem, in one sentence; None where they are.

    Args:
        folder: A bundle.
        prepared: What it is about to be measured on.

    Raises:
        InputError: The bundle was refitted on all its data, so nothing is left to measure it on.
    """
    manifest = Manifest.read(folder)
    if manifest.refitted:
        known = ", ".join(f"{name} {manifest.metrics[name]:.4f}" for name in METRICS if name in manifest.metrics)
        raise InputError(
            f"the bundle {folder.name} was refitted on all its data, test items included, so it cannot be measured; "
            f"its settings were, before: {known}"
        )
    notes = [ASKING_TIME] if manifest.knows_asking_time else []
    mine, theirs = prepared.split.sha256, str(manifest.split.get("sha256"))
    if mine != theirs:
        notes.append(
            f"the bundle was trained under split {theirs[:12]} and is measured under {mine[:12]}: "
            "test items may have been trained on, and are then removed as seen"
        )
    return "; ".join(notes) or None
