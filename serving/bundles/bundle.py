"""The one artefact that is registered, evaluated and served: a folder whose parts are checked against each other.

Nothing in it is pickled: JSON, parquet, safetensors and a FAISS file. Ids are raw ids throughout, except that rows of
the item index are rows of the item vocabulary.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features.errors import InputError
from features.feature_table import FeatureEncoder, FeatureTable
from features.schema import Feature, FeatureSchema, Id, Text
from features.vocabulary import Vocabulary, load_vocabularies
from recsys.index import ItemIndex
from recsys.interests import KINDS
from recsys.ranking import Ranker
from recsys.retrievers import Retriever, config_from_json, make_retriever, reads_asking_time
from serving.bundles.interests import BundleInterests
from serving.bundles.item_texts import BundleText
from serving.bundles.known_users import KnownUsers
from serving.bundles.manifest import ALIASES, KIND_OF, Manifest
from serving.bundles.ranker_reader import load_ranker
from serving.bundles.sealed import MANIFEST, BundleError
from serving.bundles.weights import load_weights, without_weights
from serving.encoding import EncoderProcess

_NOTHING = FeatureTable({}, {}, 0)


@dataclass(frozen=True, eq=False)
class Bundle:
    """A loaded retriever; read-only, so that any number of threads may share it.

    Args:
        manifest: What it says about itself.
        schema: The declared features.
        model: In evaluation mode.
        users: The vocabulary of user ids. (U)
        items: The vocabulary of item ids. (N)
        known: The users' attributes and histories at build time.
        item_encoder: Of the item side's features.
        item_table: Columns of the items, in row order: the id, titles and other declared ones.
        item_counts: How often training has seen each item. (N,) int64
        index: The items' vectors.
        ranker: What candidates are re-ranked with, if the bundle has one.
        text: What the items' declared vector was made of, if the bundle says so.
        interests: How mixtures of interests are made, if the bundle has that.
        aliases: What items may be called besides their ids: columns alias and item_id, and source of "SOURCE:ID".
    """

    manifest: Manifest
    schema: FeatureSchema
    model: Retriever
    users: Vocabulary
    items: Vocabulary
    known: KnownUsers
    item_encoder: FeatureEncoder
    item_table: pl.DataFrame
    item_counts: np.ndarray
    index: ItemIndex
    ranker: Ranker | None = None
    text: BundleText | None = None
    interests: BundleInterests | None = None
    aliases: pl.DataFrame | None = None

    def __repr__(self) -> str:
        facts = self.manifest
        size = f"{facts.n_users:,} users, {facts.n_items:,} items"
        return f"Bundle({facts.kind} {facts.name!r}, build {facts.build_id}: {size})"

    @property
    def by_history_alone(self) -> bool:
        """Whether what is recommended follows from histories and nothing else: neither users' ids nor attributes."""
        return self.manifest.kind == "sequential"

    @property
    def reads_asking_time(self) -> bool:
        """Whether what is recommended depends on when it is asked."""
        return self.known.timed and reads_asking_time(self.model.config)

    @property
    def title_column(self) -> str | None:
        """The first declared text column of the items: what people read in answers."""
        return next((feature.column for feature in self.schema.item if isinstance(feature, Text)), None)

    def encoded_items(self) -> FeatureTable:
        """The declared features of all items, as training saw them: ids without a training interaction are unknown."""
        return self.item_encoder.encode(self.item_table, known=self.item_counts > 0)

    def reading_aside(self, folder: Path) -> Bundle:
        """The same, whose texts are read by a process of its own, if it reads texts.

        Args:
            folder: Where it was loaded from.
        """
        if self.text is None:
            return self
        return dataclasses.replace(self, text=dataclasses.replace(self.text, aside=EncoderProcess(folder)))

    @classmethod
    def load(cls, folder: Path | str, mmap: bool = False, hashes: bool = True) -> Bundle:
        """Reads a bundle, and refuses one whose parts do not agree.

        Args:
            folder: What `serving.bundles.writer.write_bundle` wrote.
            mmap: Map the item index into memory, so that processes share its pages.
            hashes: Check the files' hashes (about a second a gigabyte), and not only their sizes.

        Raises:
            BundleError: Names the file, and what it holds and what it should.
        """
        folder = Path(folder)
        manifest = Manifest.read(folder)
        manifest.check_files(folder, hashes)
        try:
            return cls._assembled(folder, manifest, mmap)
        except BundleError:
            raise
        except (InputError, pl.exceptions.PolarsError, OSError, ValueError, KeyError, TypeError) as error:
            # the hashes agree, so this bundle was made wrong, or by another version
            raise BundleError(f"the bundle {folder} cannot be used: {_one_line(error)}") from error

    @classmethod
    def _assembled(cls, folder: Path, manifest: Manifest, mmap: bool) -> Bundle:
        facts = json.loads((folder / "features.json").read_text(encoding="utf-8"))
        schema = FeatureSchema.from_json(facts["schema"])
        found = load_vocabularies(folder / "vocabulary.parquet")
        for name, digest in manifest.vocabularies.items():
            mine = found.get(name, Vocabulary(name, pl.Series(name, [], dtype=pl.String))).sha256
            if mine != digest:
                raise BundleError(
                    f"vocabulary.parquet: that of {name!r} has the sha256 {mine}, and {MANIFEST} says {digest}"
                )
        users, items = found["user_id"], found["item_id"]
        _require("vocabulary.parquet", "user ids", len(users), manifest.n_users)
        _require("vocabulary.parquet", "item ids", len(items), manifest.n_items)

        if manifest.retriever not in KINDS or (manifest.retriever != "unimodal" and not manifest.has_interests):
            raise BundleError(f"{MANIFEST} names the retriever {manifest.retriever!r}, and the bundle has no such one")

        statistics = {name: (mean, deviation) for name, (mean, deviation) in facts["statistics"].items()}
        user_encoder = FeatureEncoder(schema.user, _vocabularies(schema.user, users, found), statistics)
        item_encoder = FeatureEncoder(schema.item, _vocabularies(schema.item, items, found), statistics)

        tables = {name: pl.read_parquet(folder / f"{name}.parquet") for name in ("users", "histories", "items")}
        popularity = pl.read_parquet(folder / "popularity.parquet")
        for name, rows, expected in (
            ("users.parquet", tables["users"].height, len(users)),
            ("histories.parquet", tables["histories"].height, len(users)),
            ("items.parquet", tables["items"].height, len(items)),
            ("popularity.parquet", popularity.height, len(items)),
        ):
            _require(name, "rows", rows, expected)

        index = ItemIndex.load(folder / "items.faiss", mmap=mmap)
        _require("items.faiss", "vectors", len(index), manifest.n_items)
        _require("items.faiss", "columns a vector", index.dim, manifest.dim)
        if index.precision != manifest.precision:
            raise BundleError(f"items.faiss is of precision {index.precision}, and the bundle of {manifest.precision}")
        vocabularies = {**user_encoder.vocabularies, **item_encoder.vocabularies}
        counts = popularity["count"].to_numpy()
        # only what reads items out of histories keeps the catalogue's features
        reads_items = manifest.kind == "sequential" or schema.vector is not None
        encoded = item_encoder.encode(tables["items"], known=counts > 0) if reads_items else _NOTHING
        model = _model(folder, schema, vocabularies, encoded, manifest)
        _require("model.json", "columns a vector", model.dim, manifest.dim)

        histories = tables["histories"]
        known = KnownUsers(
            user_encoder,
            tables["users"],
            histories["item_ids"],
            histories["trained"].to_numpy(),
            items,
            *(histories[one] if one in histories.columns else None for one in ("times", "until")),
        )
        return cls(
            manifest,
            schema,
            model,
            users,
            items,
            known,
            item_encoder,
            tables["items"],
            counts,
            index,
            load_ranker(folder, schema, vocabularies, items) if manifest.has_ranker else None,
            BundleText.read(folder) if manifest.has_text else None,
            BundleInterests.read(folder, len(users), len(items), model.config.dim, mmap)
            if manifest.has_interests
            else None,
            pl.read_parquet(folder / ALIASES) if ALIASES in manifest.files else None,
        )


def _model(
    folder: Path,
    schema: FeatureSchema,
    vocabularies: dict[str, Vocabulary],
    items: FeatureTable,
    manifest: Manifest,
) -> Retriever:
    """The model of model.json with the weights beside it."""
    described: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    family: Any = described.get("family")
    if KIND_OF.get(family) != manifest.kind:
        raise BundleError(
            f"model.json describes a model of the family {family!r}, and bundles of kind {manifest.kind!r} hold others"
        )
    with without_weights():
        model = make_retriever(config_from_json(family, described["config"]), schema, vocabularies, items)
    return load_weights(folder / "weights.safetensors", model, manifest.precision, "model.json")


def _vocabularies(
    features: tuple[Feature, ...], entity: Vocabulary, found: dict[str, Vocabulary]
) -> dict[str, Vocabulary]:
    """By feature name. One without any value is not in the file."""
    out: dict[str, Vocabulary] = {}
    for feature in features:
        if isinstance(feature, Id):
            out[feature.name] = entity
        elif feature.embedded and feature.kind != "sequence":
            out[feature.name] = found.get(feature.name, Vocabulary(feature.name, pl.Series([], dtype=pl.String)))
    return out


def _require(file: str, what: str, found: int, expected: int) -> None:
    if found != expected:
        raise BundleError(f"{file} has {found:,} {what}, and the bundle {expected:,}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def with_metrics(folder: Path | str, metrics: dict[str, float], **facts: Any) -> None:
    """Writes official figures, measured with the loaded bundle, into its manifest; the build id stays.

    Args:
        folder: A bundle.
        metrics: The figures.
        facts: Other fields of `serving.bundles.manifest.Manifest` that were measured with them.
    """
    folder = Path(folder)
    dataclasses.replace(Manifest.read(folder), metrics=dict(metrics), **facts).write(folder)
