"""The ranker of a bundle: what it reads, and how it is read from the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from features.schema import Feature, FeatureSchema, Sequence, Text
from features.vocabulary import Vocabulary
from recsys.precision import check_precision
from recsys.ranking import Ranker, RankerConfig
from serving.bundles.weights import load_weights, without_weights


def ranker_inputs(
    schema: FeatureSchema, vocabularies: dict[str, Vocabulary], items: Vocabulary
) -> tuple[tuple[Feature, ...], dict[str, Vocabulary]]:
    """What a bundle's ranker reads: the bundle's own features, users' before items', and their vocabularies.

    Args:
        schema: The declared features.
        vocabularies: Of each embedded feature but the history.
        items: The vocabulary of item ids, which the history's are.
    """
    features = tuple(feature for feature in schema if not isinstance(feature, Text))
    histories = {feature.name: items for feature in features if isinstance(feature, Sequence)}
    return features, {**vocabularies, **histories}


def load_ranker(folder: Path, schema: FeatureSchema, vocabularies: dict[str, Vocabulary], items: Vocabulary) -> Ranker:
    """The ranker of a bundle's ranker.json, with the weights beside it.

    Args:
        folder: The bundle's.
        schema: The bundle's features.
        vocabularies: Of each embedded feature but the history.
        items: The vocabulary of item ids.

    Raises:
        InputError: A ranker that does not belong to these features.
    """
    described: dict[str, Any] = json.loads((folder / "ranker.json").read_text(encoding="utf-8"))
    check_precision("the precision of ranker.json", described["precision"])
    with without_weights():
        ranker = Ranker(RankerConfig.from_json(described["config"]), *ranker_inputs(schema, vocabularies, items))
    return load_weights(folder / "ranker.safetensors", ranker, described["precision"], "ranker.json")
