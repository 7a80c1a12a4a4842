"""The manifest of a bundle: what it is, what it was made from, and the files that belong to it, with their hashes."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys.precision import PRECISIONS, Precision
from serving.bundles.sealed import (
    MANIFEST,
    BundleError,
    carried,
    check_fields,
    check_files,
    check_format,
    files_in,
    read_manifest,
    sealed,
    write_manifest,
)

if TYPE_CHECKING:
    from recsys.interests import RetrieverKind

FORMAT = 2

#: the kind of bundles that recommend nothing: `serving.matching` reads them
MATCHER = "matcher"

#: what kind of bundle a family of `recsys.retrievers` makes
KIND_OF = {"two-tower": "retriever", "sequential": "sequential"}

_FILES = (
    "features.json",
    "histories.parquet",
    "items.faiss",
    "items.faiss.json",
    "items.parquet",
    "model.json",
    "popularity.parquet",
    "users.parquet",
    "vocabulary.parquet",
    "weights.safetensors",
)
#: how items' texts are read
TEXT = "text.json"

#: what else items may be called: ids that were retired, and records of entities
ALIASES = "aliases.parquet"

#: questions with the answers that were given where it was made: see `serving.golden`
GOLDEN = "golden.json"

#: groups of files that a bundle of any kind may have besides; of each, all or none
_OPTIONAL_FILES = (
    ("ranker.json", "ranker.safetensors"),
    (TEXT,),
    (ALIASES,),
    (GOLDEN,),
    ("interests.json", "interests.safetensors", "users.faiss", "users.faiss.json"),
)

#: the files that a bundle of each kind has, besides the manifest
FILES_OF: dict[str, tuple[str, ...]] = {"retriever": _FILES, "sequential": _FILES}


@dataclass(frozen=True)
class Manifest:
    """What a bundle says about itself.

    Args:
        kind: Which files it has and what it can answer: "retriever" knows users, "sequential" histories.
        n_users: Users of the vocabulary.
        n_items: Items of the vocabulary and of the index.
        dim: Width of user and item vectors.
        name: What people call the model; the registry has its own name for it.
        n_interactions: Interactions in the histories.
        metric: What the index maximises.
        similarity: How the model compares: "dot" or "cosine".
        vocabularies: The sha256 of each vocabulary.
        unknown_ids: What becomes of ids that the vocabularies lack.
        data: Name and sha256 of the data set, the latest timestamp that training has seen ("cutoff"), and the latest
            that anything in the bundle follows from, validation and histories included ("known_until"); None of data
            whose timestamps are no moments.
        split: Name, settings and sha256 of the split, what a ranking leaves out, and what a test history holds; and
            "knows_asking_time" where the model reads when it is asked, so that its figures know when each target came.
        refitted: Whether the model was fitted on all data after its settings had been measured.
        metrics: The official figures. Of a refitted model: those of the model that its settings were measured with.
        retriever: What answers where a request names no other: see `serving.candidates.CandidateGenerator.recommend`.
        index: Kind, settings, and recall against exact search of the vectors before they were quantised.
        precision: Of the embedding tables and the item vectors: "fp32", "fp16" or "int8".
        fp32_metrics: The figures of the same model in fp32, where that is not its precision.
        precision_loss: What the precision costs: for some of the figures, the share of the fp32 figure that is lost.
        libraries: Versions of what it was made with.
        git_sha: The commit it was made from.
        entity_map: Version and hash of the entity map whose entities are the items, if any.
        created: When, UTC.
        build_id: Follows from the files.
        files: Bytes and sha256 of each file.
        format: Version of this layout.
    """

    kind: str
    n_users: int
    n_items: int
    dim: int
    name: str = ""
    n_interactions: int = 0
    metric: str = "inner product"
    similarity: str = ""
    vocabularies: dict[str, str] = field(default_factory=dict)
    unknown_ids: str = "dropped from histories and counted; a learned default vector elsewhere"
    data: dict[str, Any] = field(default_factory=dict)
    split: dict[str, Any] = field(default_factory=dict)
    refitted: bool = False
    metrics: dict[str, float] = field(default_factory=dict)
    retriever: RetrieverKind = "unimodal"
    index: dict[str, Any] = field(default_factory=dict)
    precision: Precision = "fp32"
    fp32_metrics: dict[str, float] = field(default_factory=dict)
    precision_loss: dict[str, float] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)
    git_sha: str = ""
    entity_map: str | None = None
    created: str = ""
    build_id: str = ""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    format: int = FORMAT

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Reads a folder's manifest.

        Raises:
            BundleError: No manifest, or one that this version does not understand.
        """
        data = read_manifest(folder)
        if data.get("kind") == MATCHER:
            raise BundleError(f"{folder} is a matcher of records, and a recommender is wanted; `recsys match` takes it")
        check_format(data, FORMAT)
        kinds = {one.name: str(one.type) for one in dataclasses.fields(cls)}
        kinds |= {"retriever": "str", "precision": "str"}  # which of them, is found out by and by
        check_fields(data, kinds, ("kind", "n_users", "n_items", "dim", "build_id", "files"))
        manifest = cls(**data)
        if manifest.kind not in FILES_OF:
            raise BundleError(f"{MANIFEST} says kind {manifest.kind!r}; the kinds are {', '.join(FILES_OF)}")
        if manifest.precision not in PRECISIONS:
            raise BundleError(
                f"{MANIFEST} says precision {manifest.precision!r}; the precisions are {', '.join(PRECISIONS)}"
            )
        return manifest

    @property
    def removes_seen(self) -> bool:
        """Whether it was measured without what a user knows already."""
        return self.split.get("seen") != "none"

    @property
    def knows_asking_time(self) -> bool:
        """Whether its figures are of a ranking that was told when each target came, as other models' are not."""
        return bool(self.split.get("knows_asking_time"))

    @property
    def has_ranker(self) -> bool:
        """Whether candidates can be re-ranked."""
        return "ranker.json" in self.files

    @property
    def has_interests(self) -> bool:
        """Whether it can answer with mixtures of interests."""
        return "interests.json" in self.files

    @property
    def has_text(self) -> bool:
        """Whether it says how items' texts are read."""
        return TEXT in self.files

    @property
    def has_golden(self) -> bool:
        """Whether it has questions with answers to compare with."""
        return GOLDEN in self.files

    @property
    def bytes(self) -> int:
        """How large its files are together."""
        return sum(one["bytes"] for one in self.files.values())

    def _names(self, there: Collection[str]) -> tuple[str, ...]:
        """The files that it must have, the groups of optional ones of which any is there, and a carried model's."""
        optional = [group for group in _OPTIONAL_FILES if any(name in there for name in group)]
        return (*FILES_OF[self.kind], *chain.from_iterable(optional), *carried(there))

    def write(self, folder: Path) -> None:
        """Writes it into a folder, replacing the one that is there in one step."""
        write_manifest(folder, dataclasses.asdict(self))

    def sealed(self, folder: Path, kept: Collection[str] = ()) -> Manifest:
        """The same manifest with the files' sizes and hashes, and the build id that follows from them.

        Args:
            folder: Where the files are.
            kept: Those that are as this manifest says, and are not read again.
        """
        known = {name: self.files[name] for name in kept}
        return dataclasses.replace(self, **sealed(folder, self._names(files_in(folder)), known))

    def check_files(self, folder: Path, hashes: bool = True) -> None:
        """Compares the files that lie there with those that it lists: see `serving.bundles.sealed.check_files`."""
        check_files(folder, self.kind, self._names(self.files), self.files, hashes)
