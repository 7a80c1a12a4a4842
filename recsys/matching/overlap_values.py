"""What is told of an attribute, as sets that can be compared: words, trigrams, numbers and codes.

Text is folded first (NFKC, no capitals). A word is letters and digits with their combining marks, and what joins them
inside a product's code; a number is a word as all write it. Languages that put no spaces between words have one word
for each run, and their trigrams.
"""

from __future__ import annotations

import itertools
import re
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

#: characters of a value that are compared; beyond that somebody has pasted a page
_MOST = 4096
#: words at the start of a value that are joined with their neighbours
_JOINED = 64
#: the shortest code of letters and digits
_CODE = 3
#: digits from which on what stands between them groups them, as in phone numbers, and makes no other number of them
_GROUPED = 7

_MARKS = "".join(chr(one) for one in range(0x300, 0x1C00) if unicodedata.category(chr(one)).startswith("M"))
#: what joins letters and digits, where it is a way of writing: not the point of a number (v1.2 is not v12)
_JOINTS = re.compile(r"[\-/]|(?<!\d)\.|\.(?!\d)")
_ALL_JOINTS = str.maketrans("", "", ".-/")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:\D\d{3})+")
#: floats tell whole numbers of so many digits apart
_DIGITS = 15


def _patterns(letter: str, either: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Words, and the parts of words.

    Args:
        letter: A letter.
        either: A letter or a digit.
    """
    number = rf"\d+(?:[.,]\d+)+(?:{letter})*(?!\w|[.\-/]\w)"  # with its unit; it is the whole word
    return re.compile(rf"{number}|(?:{either})+(?:[.\-/](?:{either})+)*"), re.compile(rf"(?:{either})+")


#: of text in ASCII, and of any
_ASCII = _patterns(r"[^\W\d_]", r"[^\W_]")
_ANY = _patterns(rf"[^\W\d_][{_MARKS}]*", rf"[^\W_][{_MARKS}]*")


@dataclass(frozen=True, slots=True)
class Value:
    """What is told of one attribute, or of a whole record.

    Args:
        texts: It, folded.
        words: Its words, those of a code with what joins its parts.
        trigrams: Three letters in a row, spaces between words included.
        numbers: As all write them: see `canonical`.
        codes: Words of letters and digits, as they are spelled.
        number: The first number.
        length: Letters and digits.
        order: The words as they come.
        spelled: The words without what joins their parts, where that is a way of writing.
        joined: Two or three neighbours written as one word.
    """

    texts: tuple[str, ...]
    words: frozenset[str]
    trigrams: frozenset[str]
    numbers: frozenset[str]
    codes: frozenset[str]
    number: float | None
    length: int
    order: tuple[str, ...]
    spelled: frozenset[str]
    joined: frozenset[str]

    @classmethod
    def of(cls, text: str) -> Value:
        """Reads a text."""
        said = folded(text)
        parts = (_ASCII if said.isascii() else _ANY)[1]
        order = tuple(_words(said))
        spelled = [_spelled(word) for word in order]
        spaced = " ".join(parts.findall(said))
        # a table's texts have few different trigrams: each is kept once
        trigrams = (sys.intern(spaced[n : n + 3]) for n in range(max(len(spaced) - 2, 1))) if spaced else ()
        near = spelled[:_JOINED]
        joined = {_as_one(near[n:end]) for n in range(len(near)) for end in (n + 2, n + 3) if end <= len(near)} - {""}
        numbers = [canonical(one) for one in _NUMBER.findall(said)]
        return cls(
            texts=(said,),
            words=frozenset(order),
            trigrams=frozenset(trigrams),
            numbers=frozenset(numbers),
            codes=frozenset(filter(_is_code, spelled)),
            number=next((float(one) for one in numbers if _is_number(one)), None),
            length=len(spaced.replace(" ", "")),
            order=order,
            spelled=frozenset(spelled),
            joined=frozenset(joined),
        )

    @classmethod
    def whole(cls, values: Sequence[Value]) -> Value:
        """All that is told of a record, by its values."""

        def union(name: str) -> frozenset[str]:
            return frozenset().union(*(getattr(one, name) for one in values))

        sets = {name: union(name) for name in ("words", "trigrams", "numbers", "codes", "spelled", "joined")}
        return cls(
            texts=tuple(text for one in values for text in one.texts),
            number=next((one.number for one in values if one.number is not None), None),
            length=sum(one.length for one in values),
            order=tuple(word for one in values for word in one.order),
            **sets,
        )

    def lacks(self, other: Value) -> tuple[frozenset[str], frozenset[str]]:
        """Words that only one of two values has; a code that is spelled otherwise (kdl-40, kdl40, kdl 40) is the same.

        Example:
            >>> [sorted(one) for one in Value.of("sony kdl 40 tv").lacks(Value.of("SONY kdl-40 black"))]
            [['tv'], ['black']]
        """
        return self._alone(other), other._alone(self)

    def _alone(self, other: Value) -> frozenset[str]:
        """Words that the other one has in no way of writing."""
        alone = {
            word
            for word in self.words - other.words
            if (spelled := _spelled(word)) not in other.spelled and spelled not in other.joined
        }
        if alone and (as_one := self.joined & other.spelled):
            order = [_spelled(word) for word in self.order]
            for n in range(len(order)):
                for end in (n + 2, n + 3):
                    if _as_one(order[n:end]) in as_one:
                        alone.difference_update(self.order[n:end])
        return frozenset(alone)


def words_of(text: str) -> list[str]:
    """The words of a text, as values have them.

    Example:
        >>> words_of("Café-Crème, 2 x 0.50 l, 1,299.00")
        ['café-crème', '2', 'x', '0.5', 'l', '1299']
    """
    return _words(folded(text))


def folded(text: str) -> str:
    """As it is compared."""
    text = text[:_MOST]
    return (
        text.lower()
        if text.isascii()
        else unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    )


def canonical(number: str) -> str:
    """A number as all write it; what is none (a version, a list) stays as it is.

    A single comma is a decimal one unless three digits follow.

    Example:
        >>> [canonical(one) for one in ("1,299.00", "1.299,5", "1,299", "1,50", "12.50", "007", "2.0.1")]
        ['1299', '1299.5', '1299', '1.5', '12.5', '7', '2.0.1']
    """
    marks = [one for one in number if not one.isdigit()]
    if len(set(marks)) == 2 and marks.count(marks[-1]) == 1:  # what stands but once, and last, is the decimal one
        whole, _, rest = number.rpartition(marks[-1])
    elif len(set(marks)) == 1 and marks != ["."] and _THOUSANDS.fullmatch(number):
        whole, rest = number, ""
    elif len(marks) <= 1:
        whole, _, rest = number.replace(",", ".").partition(".")
    else:
        return number
    whole, rest = "".join(one for one in whole if one.isdigit()).lstrip("0") or "0", rest.rstrip("0")
    return f"{whole}.{rest}" if rest else whole


def _words(said: str) -> list[str]:
    """Of a folded text; numbers are as all write them, with their unit if it is written to them."""
    found: list[str] = []
    for word in (_ASCII if said.isascii() else _ANY)[0].findall(said):
        number = _NUMBER.match(word) if word[0].isdigit() else None
        unit = word[number.end() :] if number is not None else ""
        if number is None or (unit and number[0].isdigit()) or any(one in ".-/" or one.isdigit() for one in unit):
            found.append(word)
        else:
            found += canonical(number[0]).split(",")
            found[-1] += unit
    return found


def _spelled(word: str) -> str:
    """Without what joins its parts, where that is a way of writing: in codes and long numbers."""
    if word.isalnum():
        return word
    if not any(map(str.isdigit, word)) or any(map(str.isalpha, word)):
        return _JOINTS.sub("", word)
    alone = word.translate(_ALL_JOINTS)
    return word if len(alone) < _GROUPED or word.replace(".", "", 1).isdigit() else alone


def _as_one(spelled: Sequence[str]) -> str:
    """Neighbours written as one word; nothing where that would be another number."""
    whole = "".join(spelled)
    if any(one[-1].isdigit() and other[0].isdigit() for one, other in itertools.pairwise(spelled)):
        return whole if whole.isdigit() and len(whole) >= _GROUPED else ""
    return whole


def _is_number(canonical: str) -> bool:
    return canonical.count(".") <= 1 and "," not in canonical and len(canonical) <= _DIGITS


def _is_code(word: str) -> bool:
    return len(word) >= _CODE and any(map(str.isdigit, word)) and any(map(str.isalpha, word))
