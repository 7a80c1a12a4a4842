"""The runs of `matching.py`: a language model is fine-tuned once, and what is concluded from it follows in seconds."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from kept_runs import remembered
from matching_cases import CASES, PARTS, PLAIN, QUICK, read, tiny_encoder

from features.labelled_pairs import LabelledPairs
from recsys.matching.ditto import log_odds, together
from recsys.matching.thresholds import best_f1, decide
from recsys.text_encoders.loading import load_encoder
from serving.matching.matcher import Matcher
from serving.resolve import Resolved
from training.config import load_config
from training.matching.conclusion import conclude
from training.matching.config import MatchTrainConfig
from training.matching.figures import as_stated, figures_of, figures_on_test
from training.matching.fit import reader_of
from training.matching.run import run
from training.runs import RunOptions


def measure(data_root: Path | None, runs: Path | None, name: str, part: str, seed: int) -> dict[str, Any]:
    """The figures of one run.

    Args:
        data_root: Where data sets are.
        runs: Keeps what language models said.
        name: Of the data set.
        part: How the language model is trained.
        seed: Of the run.
    """
    told = language_model(data_root, runs, name, part, seed)
    data = read(name, data_root)
    assert told["split_hash"] == data.split_sha256
    return {**told, **concluded(data, settings_of(name, part), seed, told, trees=part != PLAIN)}


def language_model(data_root: Path | None, runs: Path | None, name: str, part: str, seed: int) -> dict[str, Any]:
    """What the language model of one run says of validation and test pairs, which is what takes time."""
    settings = settings_of(name, part)
    return remembered(runs, [name, settings, seed], lambda: _fine_tuned(data_root, name, settings, seed))


def settings_of(name: str, part: str) -> list[str]:
    """What the runs of a part are told."""
    case = CASES.get(name)
    own = [*QUICK] if case is None else [f"optimiser.max_epochs={case.epochs}", *case.settings]
    return [*own, *PARTS[part]]


def concluded(data: LabelledPairs, settings: list[str], seed: int, told: dict[str, Any], trees: bool) -> dict[str, Any]:
    """What becomes of it: of the language model alone, of trees alone, and of both, calibrated.

    Args:
        data: Pairs with labels.
        settings: Of the run.
        seed: Of the run.
        told: As `language_model` gives it.
        trees: Whether they take part.
    """
    settings = [*settings, f"model.overlap={'true' if trees else 'false'}"]
    config = load_config(settings=settings, kind=MatchTrainConfig, seed=seed)
    reader, _ = reader_of(config, data, load_encoder(config.model.encoder))
    validation, test = (np.array(told["log_odds"][part], np.float32) for part in ("validation", "test"))
    labels, truth = data.validation.labels, data.test.labels
    told_validation, told_test = reader.pairs(data.validation), reader.pairs(data.test)
    found = conclude(config, reader, data, told_validation, validation)
    alone, said = {"language_model": (validation, test)}, None
    seconds = told["seconds_to_judge"]
    if found.overlap is not None:
        began = time.perf_counter()
        said = np.concatenate([found.overlap.log_odds(some) for some in told_test.lists()])
        seconds += time.perf_counter() - began
        alone["overlap"] = (
            np.concatenate([found.overlap.log_odds(some) for some in told_validation.lists()]),
            said,
        )
    worth = found.calibration(together(found.overlap, test, said).astype(np.float64))
    figures, _ = figures_on_test(data, (test, said), worth, (found.worth, labels), found.threshold)
    for name, (chosen_by, judged) in alone.items():
        chosen = best_f1(chosen_by.astype(np.float64), labels)
        figures[f"validation_f1_{name}"] = chosen.f1
        figures[f"f1_{name}"] = decide(judged.astype(np.float64), truth, chosen.threshold).f1
    return {
        **figures,
        **{f"validation_{name}": one for name, one in figures_of(found.worth, labels, found.threshold).items()},
        "pairs_per_second": len(data.test) / seconds,
        "labels": truth.astype(int).tolist(),
        "same": (worth >= found.threshold).astype(int).tolist(),
        "stated": {"as stated": as_stated((test, said)).tolist(), "calibrated": worth.tolist()},
        "set": settings,
    }


def _fine_tuned(data_root: Path | None, name: str, settings: list[str], seed: int) -> dict[str, Any]:
    data = read(name, data_root)
    with tempfile.TemporaryDirectory() as folder:
        if name == "generated":
            settings = [*settings, f"model.encoder.model={tiny_encoder(Path(folder) / 'tiny')}"]
        config = load_config(settings=[*settings, "model.overlap=false"], kind=MatchTrainConfig, seed=seed)
        result = run(config, RunOptions(Path(folder) / "run", track=False, progress=False), data)
        matcher = Matcher.of(Resolved(result.bundle, name))
        began = time.perf_counter()
        said = {"test": _rounded(log_odds(matcher.model, matcher.reader, data.test))}
        seconds = time.perf_counter() - began
        said["validation"] = _rounded(log_odds(matcher.model, matcher.reader, data.validation))
    return {
        "log_odds": said,
        "split_hash": data.split_sha256,
        "best_epoch": result.figures["best_epoch"],
        "seconds": result.figures["seconds_to_fit"],
        "seconds_to_judge": seconds,
    }


def _rounded(log_odds: np.ndarray) -> list[float]:
    """As they are kept."""
    return [round(float(one), 5) for one in log_odds]
