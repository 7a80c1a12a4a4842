"""What two records share and what one of them lacks, attribute by attribute, as numbers.

A language model knows what words mean, and hardly sees that a digit differs, or how rare the word is that only one of
two records has. Comparing records attribute by attribute is as old as record linkage (Fellegi and Sunter, JASA 1969:
comparison vectors); Magellan (Konda et al., PVLDB 9(12), 2016) learns from such numbers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np

from recsys.matching.overlap_values import Value, words_of
from recsys.matching.words import Told, ToldRecords

#: what comparison vectors mean; another one when they mean something else, so that no trees are asked about what they
#: have not learned from
MEANING = 2

#: numbers that differ by less than this share are as good as equal
_EQUAL = 1e-3
#: characters of records that are kept to be compared again; what is read of one takes about 150 bytes
_KEPT = 1 << 20

_SETS = ("words", "trigrams", "numbers", "codes")
_KINDS = (
    *(f"{kind} {measure}" for kind in _SETS for measure in ("jaccard", "overlap")),
    *("number", "length", "equal", "idf jaccard", "idf overlap"),
    *("max idf only left", "max idf only right", "max idf shared", "idf only left", "idf only right"),
)

#: a value, and the idf of all its words together
_Valued = tuple[Value, float]


class Overlap:
    """Compares what is told of records.

    Args:
        attributes: What is told of a record, in order. (A)
        idf: Inverse document frequencies of words: of all that is told, then of each attribute if there are several. (1
            or 1 + A)
        unknown: The same of words that are not among them. (1 or 1 + A)

    Example:
        >>> from recsys.matching.words import Word
        >>> tea, cup = (Word(text, (0,)) for text in ("tea", "cup"))
        >>> overlap = Overlap(["name"], [{"tea": 0.5}], [2.0])
        >>> found = overlap.comparison_vectors([([(0, [tea, cup])], [(0, [tea])])])[0]
        >>> dict(zip(overlap.names, found.tolist(), strict=True))["max idf only left"]
        2.0
    """

    def __init__(self, attributes: Sequence[str], idf: Sequence[Mapping[str, float]], unknown: Sequence[float]) -> None:
        self.attributes = list(attributes)
        self.idf, self.unknown = [dict(one) for one in idf], list(unknown)

    @classmethod
    def of(cls, attributes: Sequence[str], tables: Iterable[ToldRecords]) -> Overlap:
        """The idf of a word is log((n + 1) / m), where m of n records have it.

        A word of a single record says as much as one of none, and is not kept.

        Args:
            attributes: (A)
            tables: Records of A attributes.
        """
        alone = compared_alone(attributes)
        counts: list[Counter[str]] = [Counter() for _ in range(1 + len(alone))]
        n = 0
        for table in tables:
            n += len(table)
            parts = [frozenset(words_of(word.text)) for word in table.words]
            for row in range(len(table)):
                whole: set[str] = set()
                for place in range(table.attributes):
                    codes = table.values.row(row * table.attributes + place).tolist()
                    told = frozenset().union(*(parts[code] for code in codes))
                    if alone:
                        counts[1 + place].update(told)
                    whole |= told
                counts[0].update(whole)
        idf = [{word: math.log((n + 1) / m) for word, m in sorted(one.items()) if m > 1} for one in counts]
        return cls(attributes, idf, [math.log(n + 1)] * len(idf))

    @cached_property
    def names(self) -> list[str]:
        """What comparison vectors are made of: of all that is told, then of each attribute. (F)"""
        return [*_KINDS, *(f"{attribute}: {kind}" for attribute in compared_alone(self.attributes) for kind in _KINDS)]

    @cached_property
    def turned(self) -> np.ndarray:
        """Where what stands in a comparison vector stands when the pair is turned round. (F,) int64"""
        other = {"left": "right", "right": "left"}
        turned = (" ".join(other.get(one, one) for one in name.split(" ")) for name in _KINDS)
        places = np.array([_KINDS.index(one) for one in turned])
        return np.concatenate([places + start for start in range(0, len(self.names), len(_KINDS))])

    def comparison_vectors(self, pairs: Sequence[tuple[Told, Told]]) -> np.ndarray:
        """Compares the records of pairs; nothing is said where one record says nothing.

        Memory beyond the answer does not grow with the pairs: what is read of a record is kept while there is room.

        Args:
            pairs: (m,)

        Returns:
            0 or more. (m, F) float32, NaN where nothing is said.
        """
        known: dict[tuple[str, ...], list[_Valued | None]] = {}
        values: dict[str, Value] = {}
        characters, width = 0, len(_KINDS)
        found = np.full((len(pairs), len(self.names)), np.nan, np.float32)
        for row, pair in enumerate(pairs):
            sides = []
            for texts in map(self._texts, pair):
                if (read := known.get(texts)) is None:
                    if characters > _KEPT:
                        known, values, characters = {}, {}, 0
                    known[texts] = read = self._read(texts, values)
                    characters += sum(map(len, texts))
                sides.append(read)
            for field, (one, other) in enumerate(zip(*sides, strict=True)):
                if one is not None and other is not None:
                    found[row, field * width : (field + 1) * width] = self._compared(field, one, other)
        return found

    def _texts(self, record: Told) -> tuple[str, ...]:
        """What is told of each attribute."""
        told = [""] * len(self.attributes)
        for place, words in record:
            told[place] = " ".join(word.text for word in words)
        return tuple(told)

    def _read(self, texts: Sequence[str], known: dict[str, Value]) -> list[_Valued | None]:
        """All that is told, then each attribute that is compared by itself; nothing of what is not told.

        Args:
            texts: Of each attribute.
            known: Values by text, to which those are added that are not known yet.
        """
        for text in texts:
            if text and text not in known:
                known[text] = Value.of(text)
        values = [known.get(text) for text in texts]
        told = [one for one in values if one is not None]
        if len(values) > 1:
            values.insert(0, Value.whole(told) if told else None)
        return [None if one is None else (one, self._sum(field, one.words)) for field, one in enumerate(values)]

    def _sum(self, field: int, words: Iterable[str]) -> float:
        idf, unknown = self.idf[field], self.unknown[field]
        return math.fsum(idf.get(word, unknown) for word in words)  # the same in whatever order words come

    def _most(self, field: int, words: Iterable[str]) -> float:
        idf, unknown = self.idf[field], self.unknown[field]
        return max((idf.get(word, unknown) for word in words), default=0.0)

    def _compared(self, field: int, left: _Valued, right: _Valued) -> list[float]:
        """The numbers of one field, in the order of `_KINDS`."""
        (one, one_sum), (other, other_sum) = left, right
        found: list[float] = []
        for name in _SETS:
            mine, yours = getattr(one, name), getattr(other, name)
            both, smaller = len(mine & yours), min(len(mine), len(yours))
            found += [both / (len(mine) + len(yours) - both), both / smaller] if smaller else [np.nan, np.nan]
        found += [
            np.nan if one.number is None or other.number is None else _near(one.number, other.number),
            min(one.length, other.length) / max(one.length, other.length, 1),
            float(one.texts == other.texts),
        ]
        if not one.words or not other.words:
            return found + [np.nan] * (len(_KINDS) - len(found))
        shared = one.words & other.words
        idf = self._sum(field, shared)
        alone = one.lacks(other)
        return [
            *found,
            idf / max(one_sum + other_sum - idf, 1e-9),
            idf / max(min(one_sum, other_sum), 1e-9),
            *(self._most(field, words) for words in (*alone, shared)),
            *(self._sum(field, words) for words in alone),
        ]


def compared_alone(attributes: Sequence[str]) -> Sequence[str]:
    """Attributes that are compared by themselves: one alone is all that is told."""
    return attributes if len(attributes) > 1 else []


def _near(one: float, other: float) -> float:
    """How small a share of the larger number lies between two, as minus its logarithm."""
    share = abs(one - other) / max(abs(one), abs(other), 1e-9)
    return -math.log(max(share, _EQUAL))
