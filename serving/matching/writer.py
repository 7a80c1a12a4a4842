"""From a matcher that has been trained to a bundle on disk, in one step that either happens or does not."""

from __future__ import annotations

import dataclasses
import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from safetensors.torch import save_file

from recsys.matching.calibration import Isotonic, Scaling, calibration_to_json
from recsys.matching.ditto import DittoMatcher
from recsys.text_encoders.saving import save_encoder
from serving.bundles.in_place import replaced
from serving.bundles.sealed import TEXT_ENCODER
from serving.matching.manifest import HEAD, SETTINGS, VALIDATION, WORDS, MatcherManifest
from serving.matching.overlap_files import write_overlap


@dataclasses.dataclass(frozen=True, eq=False)
class Fitted:
    """What was learned of a matcher.

    Args:
        model: In evaluation mode.
        attributes: What it is told of a record, in order.
        calibration: What its log-odds are worth.
        threshold: For the best F1.
        log_odds: Of the validation pairs, before calibration. (m,)
        labels: Which of them are the same. (m,) bool
        weights: What words weigh, and those that are not among them, where values are summarised.
    """

    model: DittoMatcher
    attributes: list[str]
    calibration: Scaling | Isotonic
    threshold: float
    log_odds: np.ndarray
    labels: np.ndarray
    weights: tuple[dict[str, float], float] | None = None


def write_matcher(folder: Path | str, fitted: Fitted, **facts: Any) -> Path:
    """Writes a bundle; one that lies there is replaced.

    Args:
        folder: Where to. Its parent is made where it does not exist.
        fitted: What is written.
        facts: Fields of `serving.matching.manifest.MatcherManifest` that only the caller knows: name, metrics, data,
            libraries, git_sha.

    Returns:
        The folder.

    Raises:
        BundleError: Something else lies at `folder`.
    """
    model, weights = fitted.model, fitted.weights
    with replaced(folder) as part:
        save_encoder(model.encoder, part / TEXT_ENCODER)
        save_file({name: one.detach().cpu().contiguous() for name, one in model.head.state_dict().items()}, part / HEAD)
        config = dataclasses.asdict(model.config)
        # wherever it came from; and it is served in what it was calibrated in
        precision = "bf16" if model.encoder.model.dtype == torch.bfloat16 else "fp32"
        config["overlap"] = model.overlap is not None
        config["encoder"] |= {
            "model": TEXT_ENCODER,
            "revision": "",
            "pooling": model.encoder.pooling,
            "precision": precision,
        }
        said = {
            "config": config,
            "attributes": fitted.attributes,
            "threshold": float(fitted.threshold),
            "calibration": calibration_to_json(fitted.calibration),
            "unknown_word": None if weights is None else weights[1],
            "overlap": None if model.overlap is None else write_overlap(model.overlap, part),
        }
        (part / SETTINGS).write_text(json.dumps(said, indent=1), encoding="utf-8")
        chosen_on = {"log_odds": np.asarray(fitted.log_odds, np.float64), "same": np.asarray(fitted.labels, bool)}
        pl.DataFrame(chosen_on).write_parquet(part / VALIDATION)
        if weights is not None:
            words = {"word": list(weights[0]), "weight": list(weights[0].values())}
            pl.DataFrame(words, schema={"word": pl.String, "weight": pl.Float64}).write_parquet(part / WORDS)
        created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        manifest = MatcherManifest(fitted.attributes, threshold=float(fitted.threshold), created=created, **facts)
        manifest.sealed(part).write(part)
    return Path(folder)
