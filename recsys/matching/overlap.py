"""What two records share and what one of them lacks, attribute by attribute, as numbers.

A language model knows what words mean, and hardly sees that a digit differs, or how rare the word is that only one of
two records has. Comparing records attribute by attribute is as old as record linkage (Fellegi and Sunter, JASA 1969:
comparison vectors); Magellan (Konda et al., PVLDB 9(12), 2016) learns from such numbers.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recsys.matching.words import Told, ToldRecords

#: letters and digits, with what joins them inside a word, as in a product's code
_WORD = re.compile(r"[^\W_]+(?:[.\-/][^\W_]+)*")
_PLAIN = re.compile(r"[^\W_]+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
#: numbers that differ by less than this share are as good as equal
_EQUAL = 1e-3
#: the shortest code of letters and digits
_CODE = 3

#: of sets: the share of both that is in both, and of the smaller one
_SETS = ("words", "trigrams", "numbers", "codes")
_KINDS = (
    *(f"{kind}{of}" for kind in _SETS for of in ("", " of the smaller")),
    *("number", "length", "equal", "worth", "worth of the smaller"),
    *("dearest only left", "dearest only right", "dearest of both", "worth only left", "worth only right"),
)


@dataclass(frozen=True, slots=True)
class _Value:
    """What is told of one attribute."""

    text: str
    sets: tuple[frozenset[str], frozenset[str], frozenset[str], frozenset[str]]
    number: float | None
    plain: str

    @classmethod
    def of(cls, text: str) -> _Value:
        said = text.lower()
        words = frozenset(_WORD.findall(said))
        parts = _PLAIN.findall(said)
        spaced = " ".join(parts)
        trigrams = frozenset(spaced[n : n + 3] for n in range(max(len(spaced) - 2, 1))) if spaced else frozenset()
        plain = (_letters(word) for word in words)
        codes = frozenset(
            one for one in plain if len(one) >= _CODE and any(map(str.isdigit, one)) and any(map(str.isalpha, one))
        )
        first = _NUMBER.search(said.replace(",", ""))
        sets = (words, trigrams, frozenset(_NUMBER.findall(said)), codes)
        return cls(said, sets, float(first.group()) if first else None, "".join(parts))


class Overlap:
    """Compares what is told of records.

    Args:
        attributes: What is told of a record, in order. (A)
        worth: How much words say: of all that is told, then of each attribute. (1 + A)
        unknown: The same of words that are not among them. (1 + A)

    Example:
        >>> from recsys.matching.words import Word
        >>> tea, cup = (Word(text, (0,)) for text in ("tea", "cup"))
        >>> overlap = Overlap(["name"], [{"tea": 0.5}], [2.0])
        >>> found = overlap.numbers([([(0, [tea, cup])], [(0, [tea])])])[0]
        >>> dict(zip(overlap.names, found.tolist(), strict=True))["all: dearest only left"]
        2.0
    """

    def __init__(
        self, attributes: Sequence[str], worth: Sequence[Mapping[str, float]], unknown: Sequence[float]
    ) -> None:
        self.attributes = list(attributes)
        self.worth, self.unknown = [dict(one) for one in worth], list(unknown)

    @classmethod
    def of(cls, attributes: Sequence[str], tables: Iterable[ToldRecords]) -> Overlap:
        """Words are worth log((n + 1) / m), where m of n records have them.

        A word of a single record is worth as much as one of none, and is not kept.

        Args:
            attributes: (A)
            tables: Records of A attributes.
        """
        counts: list[Counter[str]] = [Counter() for _ in range(1 + len(attributes))]
        n = 0
        for table in tables:
            n += len(table)
            parts = [frozenset(_WORD.findall(word.text.lower())) for word in table.words]
            for row in range(len(table)):
                whole: set[str] = set()
                for place in range(table.attributes):
                    codes = table.values.row(row * table.attributes + place).tolist()
                    told = frozenset().union(*(parts[code] for code in codes))
                    counts[1 + place].update(told)
                    whole |= told
                counts[0].update(whole)
        worth = [{word: math.log((n + 1) / m) for word, m in one.items() if m > 1} for one in counts]
        return cls(attributes, worth, [math.log(n + 1)] * len(worth))

    @cached_property
    def names(self) -> list[str]:
        """What the numbers are. (F)"""
        return [f"{field}: {kind}" for field in ("all", *self._alone) for kind in _KINDS]

    @property
    def _alone(self) -> list[str]:
        """Attributes that are compared by themselves: one alone is all that is told."""
        return self.attributes if len(self.attributes) > 1 else []

    def numbers(self, pairs: Sequence[tuple[Told, Told]]) -> np.ndarray:
        """Compares the records of pairs; nothing is said where one record says nothing.

        Args:
            pairs: (m,)

        Returns:
            (m, F) float32, NaN where nothing is said.
        """
        known: dict[tuple[int, str], tuple[_Value, float]] = {}
        found = np.full((len(pairs), len(self.names)), np.nan, np.float32)
        width = len(_KINDS)
        for row, pair in enumerate(pairs):
            left, right = (self._texts(record) for record in pair)
            for field, texts in enumerate(zip(left, right, strict=True)):
                if all(texts):
                    one, other = (self._value(field, text, known) for text in texts)
                    found[row, field * width : (field + 1) * width] = self._compared(field, one, other)
        return found

    def _texts(self, record: Told) -> list[str]:
        """All that is told, then each attribute that is compared by itself."""
        told = [""] * len(self.attributes)
        for place, words in record:
            told[place] = " ".join(word.text for word in words)
        whole = " ".join(filter(None, told))
        return [whole, *told] if len(told) > 1 else [whole]

    def _value(self, field: int, text: str, known: dict[tuple[int, str], tuple[_Value, float]]) -> tuple[_Value, float]:
        """What is told, and what all its words are worth together."""
        if (field, text) not in known:
            value = _Value.of(text)
            known[field, text] = value, self._sum(field, value.sets[0])
        return known[field, text]

    def _sum(self, field: int, words: Iterable[str]) -> float:
        worth, unknown = self.worth[field], self.unknown[field]
        return math.fsum(worth.get(word, unknown) for word in words)  # the same in whatever order words come

    def _dearest(self, field: int, words: Iterable[str]) -> float:
        worth, unknown = self.worth[field], self.unknown[field]
        return max((worth.get(word, unknown) for word in words), default=0.0)

    def _compared(self, field: int, left: tuple[_Value, float], right: tuple[_Value, float]) -> list[float]:
        """The numbers of one field, in the order of `_KINDS`."""
        (one, one_sum), (other, other_sum) = left, right
        found: list[float] = []
        for mine, yours in zip(one.sets, other.sets, strict=True):
            both = len(mine & yours)
            smaller = min(len(mine), len(yours))
            found += [both / (len(mine) + len(yours) - both), both / smaller] if smaller else [np.nan, np.nan]
        lengths = len(one.plain), len(other.plain)
        found += [
            np.nan if one.number is None or other.number is None else _near(one.number, other.number),
            min(lengths) / max(*lengths, 1),
            float(one.text == other.text),
        ]
        mine, yours = one.sets[0], other.sets[0]
        if not mine or not yours:
            return found + [np.nan] * (len(_KINDS) - len(found))
        shared = mine & yours
        worth = self._sum(field, shared)
        # what is joined or hyphened on the other side is not lacking there
        alone = [{word for word in mine - shared if _letters(word) not in other.plain}]
        alone.append({word for word in yours - shared if _letters(word) not in one.plain})
        return [
            *found,
            worth / max(one_sum + other_sum - worth, 1e-9),
            worth / max(min(one_sum, other_sum), 1e-9),
            *(self._dearest(field, words) for words in (*alone, shared)),
            *(self._sum(field, words) for words in alone),
        ]


def _letters(word: str) -> str:
    """Without what joins its parts."""
    return word if word.isalnum() else "".join(_PLAIN.findall(word))


def _near(one: float, other: float) -> float:
    """How small a share of the larger number lies between two, as minus its logarithm."""
    share = abs(one - other) / max(abs(one), abs(other), 1e-9)
    return -math.log(max(share, _EQUAL))
