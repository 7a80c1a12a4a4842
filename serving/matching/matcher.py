"""A matcher that has been trained, with all that was chosen on validation: what it says of pairs of records."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors.torch import load_file

from features.errors import InputError
from features.record_pairs import RecordPairs
from features.records import Records
from recsys.matching.calibration import Calibration, calibration_from_json
from recsys.matching.ditto import DittoMatcher, log_odds, vectors_of
from recsys.matching.ditto_config import DittoConfig
from recsys.matching.explain import Explanation, explain
from recsys.matching.informative import most_informative
from recsys.matching.pair_reader import PairReader
from recsys.matching.siamese import make_matcher
from recsys.matching.thresholds import Decision, decide, for_precision
from recsys.text_encoders.loading import load_encoder
from serving.bundles.sealed import MANIFEST, TEXT_ENCODER, BundleError
from serving.matching.manifest import HEAD, SETTINGS, VALIDATION, WORDS, MatcherManifest
from serving.matching.overlap_files import read_overlap
from serving.matching.scores import Scores
from serving.resolve import Resolved, resolve

#: of the least certain pairs so many are compared with each other, when it is asked which to label
_UNCERTAIN = 2_000
#: and so many of them are read at a time
_AT_A_TIME = 256


@dataclass(frozen=True, eq=False)
class Matcher:
    """A loaded matcher; read-only, so that any number of threads may share it.

    Args:
        manifest: What it says about itself.
        model: In evaluation mode.
        reader: Its own.
        calibration: What log-odds are worth.
        validation: The calibrated log-odds of the validation pairs, and which of them are the same: what a threshold
            for a wanted precision follows from.
        resolved: Where it came from.

    Example:
        >>> from serving.matching.matcher import Matcher
        >>> shops = Matcher.load("models:/shops@champion")                                    # doctest: +SKIP
        >>> left, right = {"title": "Rose soap 100 g"}, {"title": "soap, rose (100g)"}
        >>> shops.score(shops.pairs([left], [right])).probabilities                           # doctest: +SKIP
        array([0.982])
    """

    manifest: MatcherManifest
    model: DittoMatcher
    reader: PairReader
    calibration: Calibration
    validation: tuple[np.ndarray, np.ndarray]
    resolved: Resolved

    @classmethod
    def load(cls, source: str | Path, tracking_uri: str | None = None, hashes: bool = True) -> Matcher:
        """Reads a matcher, and refuses one whose parts do not agree.

        Args:
            source: "models:/NAME@ALIAS", "models:/NAME/VERSION", "models:/NAME" (its newest version), or a folder.
            tracking_uri: Where models are registered.
            hashes: Check the files' hashes, and not only their sizes.

        Raises:
            InputError: No such model, or a bundle that cannot be used.
        """
        return cls.of(resolve(source, tracking_uri), hashes)

    @classmethod
    def of(cls, resolved: Resolved, hashes: bool = True) -> Matcher:
        """As `load`, of what has been found already."""
        folder = resolved.folder
        malformed = (ValueError, LookupError, TypeError, AttributeError, RuntimeError)
        unusable = (InputError, pl.exceptions.PolarsError, OSError, *malformed)
        with resolved.blamed():
            manifest = MatcherManifest.read(folder)
            manifest.check_files(folder, hashes)
            try:
                return cls._assembled(folder, manifest, resolved)
            except BundleError:
                raise
            except unusable as error:  # the hashes agree: it was made wrong, or by another version
                why = " ".join(str(error).split())[:300] or type(error).__name__
                raise BundleError(f"the bundle {folder} cannot be used: {why}") from error

    @classmethod
    def _assembled(cls, folder: Path, manifest: MatcherManifest, resolved: Resolved) -> Matcher:
        said = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        for name in ("attributes", "threshold"):  # what the hashes do not cover is there to be read by people
            if said[name] != getattr(manifest, name):
                raise BundleError(f"{SETTINGS} and {MANIFEST} disagree about the {name}")
        config = DittoConfig.from_json(said["config"])
        encoder = load_encoder(dataclasses.replace(config.encoder, model=str(folder / TEXT_ENCODER), revision=""))
        weights = None
        if manifest.summarises:
            words = pl.read_parquet(folder / WORDS)
            known = dict(zip(words["word"].to_list(), words["weight"].to_list(), strict=True))
            weights = (known, float(said["unknown_word"]))
        model = make_matcher(config, encoder)
        model.head.load_state_dict(load_file(folder / HEAD))
        manifest.check_overlap(said["overlap"] is not None)
        if said["overlap"] is not None:
            model.overlap = read_overlap(folder, said["overlap"], manifest.attributes, config.both_orders)
        reader = PairReader(config, manifest.attributes, encoder, weights)
        calibration = calibration_from_json(said["calibration"])
        chosen_on = pl.read_parquet(folder / VALIDATION, columns=["log_odds", "same"])
        found = (calibration(chosen_on["log_odds"].to_numpy()), chosen_on["same"].to_numpy())
        return cls(manifest, model.eval(), reader, calibration, found, resolved)

    @property
    def identity(self) -> dict[str, str | None]:
        """Name and version in the registry, and build id."""
        return {"name": self.resolved.name, "version": self.resolved.version, "build_id": self.manifest.build_id}

    def __repr__(self) -> str:
        return f"Matcher({self.resolved.name!r}, build {self.manifest.build_id}: {', '.join(self.manifest.attributes)})"

    def records(self, told: Sequence[Mapping[str, Any]], name: str = "the records") -> Records:
        """Records that are given as mappings, such as the lines of a request.

        Args:
            told: What is said of each, by attribute; what is not said is missing. (n,)
            name: What errors call them.

        Raises:
            InputError: Something is said that the matcher does not read, or that cannot be told.
        """
        return Records.told(name, told, self.manifest.attributes)

    def pairs(self, left: Sequence[Mapping[str, Any]], right: Sequence[Mapping[str, Any]]) -> RecordPairs:
        """Pairs of records that are given as mappings: the first of one with the first of the other, and so on.

        Args:
            left: See `records`. (m,)
            right: (m,)

        Raises:
            InputError: See `records`; or there are more of one than of the other.
        """
        for told in (left, right):
            if isinstance(told, Mapping):
                raise InputError("pairs are of two lists of records, a mapping for each record: pairs([left], [right])")
        if len(left) != len(right):
            raise InputError(f"there are {len(left):,} records on the left and {len(right):,} on the right")
        rows = np.arange(len(left))
        return RecordPairs(self.records(left, "left"), self.records(right, "right"), rows, rows)

    def decision(self, precision: float | None = None) -> Decision:
        """From which calibrated log-odds on a pair counts as the same, and what that did to the validation pairs.

        Args:
            precision: Wanted among what is called the same: the threshold that had it on the validation pairs and
                found most of them. That of the best F1 where not given.

        Raises:
            InputError: No threshold had it.
        """
        if precision is None:
            return decide(*self.validation, self.manifest.threshold)
        found = for_precision(*self.validation, precision)
        if found is None:
            raise InputError(
                f"no threshold reached the precision {precision:g} on this matcher's validation pairs: its surest "
                "pairs are not the same"
            )
        return found

    def threshold(self, precision: float | None = None) -> float:
        """The threshold of `decision`, which is the bundle's own where no precision is wanted."""
        return self.manifest.threshold if precision is None else self.decision(precision).threshold

    def score(
        self,
        pairs: RecordPairs,
        precision: float | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Scores:
        """What the matcher says of pairs.

        Args:
            pairs: Of records with its attributes. (m pairs)
            precision: Wanted: see `decision`.
            progress: Called with how many are done, and how many there are.

        Raises:
            InputError: Records with other attributes.
        """
        if not isinstance(pairs, RecordPairs):
            raise InputError(f"what is scored is what `pairs` gives, and this is a {type(pairs).__name__}")
        threshold = self.threshold(precision)
        return self._scores(log_odds(self.model, self.reader, pairs, progress), threshold)

    def scored(self, explanation: Explanation) -> Scores:
        """What is said of the pair that was explained."""
        return self._scores(np.array([explanation.log_odds]), self.threshold())

    def _scores(self, stated: np.ndarray, threshold: float) -> Scores:
        return Scores(self.calibration(stated.astype(np.float64)), threshold)

    def informative(
        self,
        pairs: RecordPairs,
        n: int,
        seed: int = 0,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> np.ndarray:
        """Places of the pairs from whose labels most would be learned: see `recsys.matching.informative`.

        Args:
            pairs: Without labels, such as a blocker gives. (m pairs)
            n: How many are wanted.
            seed: Of the draws.
            progress: See `score`; the least certain are read twice, and counted so.

        Returns:
            (at most n,) int64
        """
        twice = min(len(pairs), max(_UNCERTAIN, 10 * n))
        stated = self.score(pairs, progress=lambda done, total: progress(done, total + twice)).log_odds
        least = np.argsort(np.abs(stated), kind="stable")[:twice]
        told, vectors = self.reader.pairs(pairs), []
        for start in range(0, twice, _AT_A_TIME):
            some = least[start : start + _AT_A_TIME]
            vectors.append(vectors_of(self.model, self.reader.write(told.take(some))))
            progress(len(pairs) + start + len(some), len(pairs) + twice)
        if not vectors:
            return least
        return least[most_informative(stated[least], np.concatenate(vectors), n, seed)]

    def explain(self, left: Mapping[str, Any], right: Mapping[str, Any]) -> Explanation:
        """What decided about one pair: see `recsys.matching.explain`."""
        told = self.reader.pairs(self.pairs([left], [right]))
        return explain(self.model, self.reader, *told.take(slice(0, 1))[0])
