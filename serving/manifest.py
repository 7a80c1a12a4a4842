"""The manifest of a bundle: what it is, what it was made from, and the files that belong to it, with their hashes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from features.errors import InputError
from recsys.precision import PRECISIONS

FORMAT = 2
MANIFEST = "manifest.json"

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
#: how items' texts are read, and a folder for the files of a language model that is carried along
TEXT, TEXT_ENCODER = "text.json", "text_encoder"

#: groups of files that a bundle of any kind may have besides; of each, all or none
_OPTIONAL_FILES = (
    ("ranker.json", "ranker.safetensors"),
    (TEXT,),
    ("interests.json", "interests.safetensors", "users.faiss", "users.faiss.json"),
)

#: the files that a bundle of each kind has, besides the manifest
FILES_OF: dict[str, tuple[str, ...]] = {"retriever": _FILES, "sequential": _FILES}


class BundleError(InputError):
    """A bundle whose parts are missing, damaged, or do not belong together."""


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
        data: Name and sha256 of the data set, and the latest timestamp that training has seen ("cutoff").
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
        entity_map: Version of the entity map whose entities are the items, if any.
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
    retriever: str = "unimodal"
    index: dict[str, Any] = field(default_factory=dict)
    precision: str = "fp32"
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
        if not folder.is_dir():
            raise BundleError(f"there is no bundle at {folder}: not a folder")
        try:
            data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise BundleError(f"{folder} is no bundle: it has no {MANIFEST}") from None
        except (OSError, ValueError, RecursionError) as error:
            raise BundleError(f"{MANIFEST} cannot be read: {error}") from error
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            found = data.get("format") if isinstance(data, dict) else type(data).__name__
            older = type(found) is int and found < FORMAT
            raise BundleError(
                f"{MANIFEST} is of format {found!r}, and this version reads format {FORMAT}"
                + ("; an earlier version wrote the bundle: train its model again" if older else "")
            )
        names = {one.name for one in dataclasses.fields(cls)}
        missing = [one for one in ("kind", "n_users", "n_items", "dim", "build_id", "files") if one not in data]
        wrong = missing or sorted(set(data) - names)
        if wrong:
            raise BundleError(f"{MANIFEST} {'lacks' if missing else 'has an unknown'} field {wrong[0]!r}")
        manifest = cls(**data)
        for one in dataclasses.fields(cls):
            value, kind = getattr(manifest, one.name), one.type.partition("[")[0]
            if kind in ("int", "str", "dict", "bool") and type(value).__name__ != kind:
                raise BundleError(f"{MANIFEST}: {one.name} is {value!r}, not of type {kind}")
        if manifest.kind not in FILES_OF:
            raise BundleError(f"{MANIFEST} says kind {manifest.kind!r}; the kinds are {', '.join(FILES_OF)}")
        paths = sorted(name for name in manifest.files if not _inside(name))
        if paths:
            raise BundleError(f"{MANIFEST} lists {paths[0]!r}, which is no name of a file in the bundle")
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

    def _names(self, there: Collection[str]) -> tuple[str, ...]:
        """The files that it must have, the groups of optional ones of which any is there, and a carried model's."""
        optional = [group for group in _OPTIONAL_FILES if any(name in there for name in group)]
        carried = sorted(name for name in there if name.startswith(f"{TEXT_ENCODER}/"))
        return (*FILES_OF[self.kind], *chain.from_iterable(optional), *carried)

    def write(self, folder: Path) -> None:
        """Writes it into a folder, replacing the one that is there in one step."""
        part = folder / (MANIFEST + ".part")
        part.write_text(json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True), encoding="utf-8")
        os.replace(part, folder / MANIFEST)

    def sealed(self, folder: Path) -> Manifest:
        """The same manifest with the files' sizes and hashes, and the build id that follows from them."""
        names = self._names({path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()})
        files = {
            name: {"bytes": (folder / name).stat().st_size, "sha256": digest}
            for name, digest in zip(names, _digests(folder, names), strict=True)
        }
        build = hashlib.sha256(json.dumps({name: one["sha256"] for name, one in files.items()}).encode())
        return dataclasses.replace(self, files=files, build_id=build.hexdigest()[:16])

    def check_files(self, folder: Path, hashes: bool = True) -> None:
        """Compares the files that lie there with those that the manifest lists.

        Args:
            folder: The bundle's.
            hashes: Read every file, and not only look at their sizes.

        Raises:
            BundleError: Says which file, and both figures.
        """
        names = self._names(self.files)
        for name in names:
            listed, path = self.files.get(name), folder / name
            if not isinstance(listed, dict):
                raise BundleError(f"{MANIFEST} does not list {name}, which a bundle of kind {self.kind!r} must have")
            if not path.is_file():
                raise BundleError(f"the bundle lacks {name}, which its {MANIFEST} lists")
            if path.stat().st_size != listed.get("bytes"):
                raise BundleError(
                    f"{name} has {path.stat().st_size} bytes, and {MANIFEST} says {listed.get('bytes')} bytes"
                )
        for name, digest in zip(names, _digests(folder, names), strict=True) if hashes else ():
            if digest != self.files[name].get("sha256"):
                raise BundleError(
                    f"{name} has the sha256 {digest}, and {MANIFEST} says {self.files[name].get('sha256')}"
                )


def _inside(name: str) -> bool:
    """Whether a name is that of a file in the bundle, and not of one that lies elsewhere."""
    parts = PurePosixPath(name).parts
    plain = name.isprintable() and "\\" not in name and "/".join(parts) == name and not {".", ".."} & set(parts)
    return plain and (len(parts) == 1 or parts[:1] == (TEXT_ENCODER,))


def _digests(folder: Path, names: tuple[str, ...]) -> list[str]:
    """The sha256 of each file; hashing lets go of the interpreter's lock, so that threads help."""

    def digest(name: str) -> str:
        with open(folder / name, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(digest, names))
