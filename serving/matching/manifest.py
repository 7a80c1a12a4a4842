"""The manifest of a matcher's bundle: what it is, what it was made from, and its files, with their hashes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.bundles.manifest import MATCHER
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

#: 2: the settings tell of a second opinion, or that there is none
FORMAT = 2

#: the files that it must have, besides the language model's
SETTINGS, HEAD, VALIDATION = "matcher.json", "head.safetensors", "validation.parquet"
#: what words weigh, where values are summarised
WORDS = "words.parquet"
#: the second opinion, from what records share and lack: its trees, and words with their inverse document frequencies
TREES, IDF = "overlap.trees.parquet", "overlap.words.parquet"


@dataclass(frozen=True)
class MatcherManifest:
    """What a matcher says about itself.

    Args:
        attributes: What it is told of a record, in order.
        name: What people call it; the registry has its own name for it.
        threshold: From which calibrated log-odds on a pair is the same, where no precision is asked for.
        metrics: The official figures, of the bundle as it is served.
        data: Name of the data set, and pairs of each part.
        libraries: Versions of what it was made with.
        git_sha: The commit it was made from.
        created: When, UTC.
        build_id: Follows from the files.
        files: Bytes and sha256 of each file.
        kind: "matcher".
        format: Version of this layout.
    """

    attributes: list[str]
    name: str = ""
    threshold: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)
    git_sha: str = ""
    created: str = ""
    build_id: str = ""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    kind: str = MATCHER
    format: int = FORMAT

    @classmethod
    def read(cls, folder: Path) -> MatcherManifest:
        """Reads a folder's manifest.

        Raises:
            BundleError: No manifest, that of something else, or one that this version does not understand.
        """
        data = read_manifest(folder)
        if data.get("kind") != MATCHER:
            raise BundleError(f"{folder} is a bundle of kind {data.get('kind')!r}, and a matcher of records is wanted")
        check_format(data, FORMAT)
        kinds = {one.name: str(one.type) for one in dataclasses.fields(cls)}
        check_fields(data, kinds, ("attributes", "threshold", "build_id", "files"))
        if not data["attributes"] or not all(isinstance(one, str) for one in data["attributes"]):
            raise BundleError(f"{MANIFEST}: attributes is {data['attributes']!r}, not a list of names")
        if type(data["threshold"]) not in (int, float) or not math.isfinite(data["threshold"]):
            raise BundleError(f"{MANIFEST}: threshold is {data['threshold']!r}, not a number")
        return cls(**data)

    @property
    def summarises(self) -> bool:
        """Whether it carries what words weigh."""
        return WORDS in self.files

    def check_overlap(self, said: bool) -> None:
        """Compares whether it carries a second opinion with whether its settings say so.

        Raises:
            BundleError: It carries half of one, or none where one is said, or one of which nothing is said.
        """
        for name in (TREES, IDF):
            if (name in self.files) != said:
                raise BundleError(
                    f"{SETTINGS} {'tells' if said else 'does not tell'} of {name}, and the files do not agree"
                )

    def write(self, folder: Path) -> None:
        """Writes it into a folder, replacing the one that is there in one step."""
        write_manifest(folder, dataclasses.asdict(self))

    def sealed(self, folder: Path) -> MatcherManifest:
        """The same manifest with the files' sizes and hashes, and the build id that follows from them."""
        return dataclasses.replace(self, **sealed(folder, _names(files_in(folder))))

    def check_files(self, folder: Path, hashes: bool = True) -> None:
        """Compares the files that lie there with those that it lists: see `serving.bundles.sealed.check_files`."""
        check_files(folder, self.kind, _names(self.files), self.files, hashes)


def _names(there: Collection[str]) -> tuple[str, ...]:
    """The files that it must have, the optional ones if they are there, and the language model's."""
    optional = [one for one in (WORDS, TREES, IDF) if one in there]
    return (SETTINGS, HEAD, VALIDATION, *optional, *carried(there))


def with_metrics(folder: Path | str, metrics: dict[str, float]) -> None:
    """Writes official figures, measured with the loaded bundle, into its manifest; the build id stays."""
    folder = Path(folder)
    dataclasses.replace(MatcherManifest.read(folder), metrics=dict(metrics)).write(folder)
