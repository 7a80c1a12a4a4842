"""Which pairs of two tables, or of one, are worth a look: nearest records by terms or by vectors, from both sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np

from features.errors import InputError
from features.records import Records
from recsys.blocking.candidates import Candidates
from recsys.blocking.nearest import Neighbours, TermIndex
from recsys.blocking.terms import TermKind, TermsConfig, TermSpace, texts_of
from recsys.index import IndexConfig, ItemIndex

#: what can be looked by
WAYS = ("characters", "words", "vectors")

#: tables of more pairs than that are searched by inverted lists, where vectors are looked by
_EXACT_PAIRS = 1 << 32
#: vectors that are searched at a time
_CHUNK = 4096

#: records to vectors, one each: (n records) -> (n, D) float32
Encode = Callable[[Records], np.ndarray]


@dataclass(frozen=True)
class BlockingConfig:
    """How candidates are found.

    Args:
        ways: By what: "characters" (TF-IDF over their n-grams), "words" (over words), "vectors" (of a bi-encoder).
        candidates: How many, for each record of the smaller table on average; of one table, how many each record is in.
        neighbours: How many nearest records are looked for of each record, on both sides, by each way; 0 takes twice as
            many as `candidates`.
        attributes: Whose words or characters count; all, where none is named.
        size: Of n-grams of characters.
        lookups: See `recsys.blocking.nearest.TermIndex`: what one record may cost at the most.
    """

    ways: tuple[str, ...] = ("characters",)
    candidates: float = 10
    neighbours: int = 0
    attributes: tuple[str, ...] = ()
    size: int = 3
    lookups: int = 20_000

    def __post_init__(self) -> None:
        if not self.ways or len(set(self.ways)) < len(self.ways) or set(self.ways) - set(WAYS):
            raise InputError(f"blocking.ways are different ones of {', '.join(WAYS)}, got {', '.join(self.ways)}")
        if self.candidates <= 0:
            raise InputError(f"blocking.candidates is above 0, got {self.candidates:g}")
        for name in ("neighbours", "lookups"):
            if getattr(self, name) < 0:
                raise InputError(f"blocking.{name} is 0 or more, got {getattr(self, name)}")
        TermsConfig(size=self.size)


def block(
    left: Records, right: Records, config: BlockingConfig | None = None, encode: Encode | None = None
) -> Candidates:
    """Finds candidates.

    Args:
        left: One table.
        right: The other one; the same object, for duplicates inside one table.
        config: How.
        encode: What makes vectors of records, where they are looked by.

    Returns:
        The surest first.

    Raises:
        InputError: Attributes that the tables lack, or vectors without something that makes them.

    Example:
        >>> import polars as pl
        >>> shop = Records.of("shop", pl.DataFrame({"id": [1, 2], "title": ["Rose soap", "Blue ink"]}))
        >>> other = Records.of("other", pl.DataFrame({"id": ["a", "b"], "title": ["ink, blue", "soap with roses"]}))
        >>> block(shop, other, BlockingConfig(candidates=1)).pairs.frame().rows()
        [(1, 'b'), (2, 'a')]
    """
    config = config or BlockingConfig()
    if missing := [one for one in config.attributes if one not in left.attributes]:
        raise InputError(f"blocking.attributes names {missing[0]!r}, and the records have {', '.join(left.attributes)}")
    one_table = left is right
    smaller = min(len(left), len(right))
    k = config.neighbours or max(2, round(2 * config.candidates))
    found = []
    for way in config.ways:
        if way == "vectors":
            search = _by_vectors(left, right, encode)
        else:
            search = _by_terms(left, right, cast("TermKind", way), config)  # the configuration refuses others
        of_left = search(0, k)
        found.append((way, of_left, of_left if one_table else search(1, k)))
    most = max(1, round(config.candidates * smaller / (2 if one_table else 1)))
    return Candidates.of(left, right, found, most)


#: the k nearest records of the other side, for each record of side 0 or 1
_Search = Callable[[int, int], Neighbours]


def _by_terms(left: Records, right: Records, way: TermKind, config: BlockingConfig) -> _Search:
    texts = [texts_of(one.values, config.attributes) for one in ((left,) if left is right else (left, right))]
    space = TermSpace(TermsConfig(way, config.size), *texts)
    vectors = [space.vectors(one) for one in texts]

    def search(side: int, k: int) -> Neighbours:
        return TermIndex(vectors[side - 1], config.lookups).nearest(vectors[side], k, itself=left is not right)

    return search


def _by_vectors(left: Records, right: Records, encode: Encode | None) -> _Search:
    if encode is None:
        raise InputError("blocking.ways has 'vectors', and nothing is given that makes vectors of records")
    one_table = left is right
    vectors = [_directions(encode(one)) for one in ((left,) if one_table else (left, right))]
    config = IndexConfig(kind="exact" if len(left) * len(right) <= _EXACT_PAIRS else "ivf", probes=32)

    def search(side: int, k: int) -> Neighbours:
        asked = vectors[side - 1]
        index = ItemIndex.build(asked, config)
        parts = [
            index.search(vectors[side][at : at + _CHUNK], k + one_table) for at in range(0, len(vectors[side]), _CHUNK)
        ]
        scores, rows = (np.concatenate([part[n] for part in parts]) for n in (0, 1))
        return _without_itself(rows, scores) if one_table else Neighbours(rows, scores)

    return search


def _without_itself(rows: np.ndarray, scores: np.ndarray) -> Neighbours:
    """Lists without the record whose they are, or without their last one. (n, k + 1) -> (n, k)"""
    out = rows == np.arange(len(rows))[:, None]
    out[~out.any(axis=1), -1] = True
    shape = (len(rows), rows.shape[1] - 1)
    return Neighbours(rows[~out].reshape(shape), scores[~out].reshape(shape))


def _directions(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1; zero stays. (n, D)"""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
