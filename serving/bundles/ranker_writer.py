"""A ranker goes into a bundle: its features and vocabularies are the bundle's own, or it is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from features.errors import InputError
from features.schema import Numeric
from features.vocabulary import Vocabulary
from recsys.precision import Precision, check_precision
from recsys.ranking import Ranker
from serving.bundles.bundle import Bundle
from serving.bundles.in_place import copy_parts, replaced
from serving.bundles.ranker_reader import load_ranker, ranker_inputs
from serving.bundles.sealed import BundleError
from serving.bundles.weights import save_weights
from serving.golden import write_golden


def with_ranker(
    folder: Path | str,
    ranker: Ranker,
    vocabularies: Mapping[str, Vocabulary],
    out: Path | str | None = None,
    precision: Precision = "fp32",
) -> Path:
    """Adds a ranker to a bundle, or replaces the one it has; the build id is a new one.

    Args:
        folder: A bundle.
        ranker: A trained ranker of the bundle's features, the users' before the items'.
        vocabularies: What it was trained with, by feature; of the history, that of the item ids.
        out: Where the bundle with the ranker goes; over the one without it where not given.
        precision: Of the ranker's tables.

    Returns:
        The folder.

    Raises:
        InputError: The ranker reads other features, or other vocabularies, than the bundle has.
        BundleError: The bundle is damaged, or something else lies at `out`.
    """
    check_precision("precision", precision)
    folder, bundle = Path(folder), Bundle.load(folder)
    mine = {**bundle.known.encoder.vocabularies, **bundle.item_encoder.vocabularies}
    features, expected = ranker_inputs(bundle.schema, mine, bundle.items)
    for kind, reads, has in (
        ("embedded features", ranker.sparse, [feature.name for feature in features if feature.embedded]),
        ("numbers", ranker.dense, [feature.name for feature in features if isinstance(feature, Numeric)]),
    ):
        if list(reads) != has:
            raise InputError(
                f"the ranker reads the {kind} {', '.join(reads) or '(none)'}, and those of the bundle {folder.name} "
                f"are {', '.join(has) or '(none)'}"
            )
    for name in ranker.sparse:
        if name not in vocabularies:
            raise InputError(f"the ranker's vocabulary of {name!r} is not given")
        if not vocabularies[name].ids.equals(expected[name].ids):
            raise InputError(
                f"the ranker's vocabulary of {name!r}, {len(vocabularies[name]):,} ids, is not the one of the bundle "
                f"{folder.name}, {len(expected[name]):,} ids"
            )
    with replaced(folder if out is None else out) as part:
        manifest = copy_parts(folder, part)
        described = {"config": ranker.config.to_json(), "precision": precision}
        (part / "ranker.json").write_text(json.dumps(described, indent=1), encoding="utf-8")
        save_weights(part / "ranker.safetensors", ranker, precision)
        try:
            load_ranker(part, bundle.schema, mine, bundle.items)
        except BundleError as error:
            raise InputError(f"the ranker does not fit the bundle {folder.name}: {error}") from error
        manifest.sealed(part).write(part)
        write_golden(part)
    return folder if out is None else Path(out)
