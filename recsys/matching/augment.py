"""Pairs changed so that they still mean what they meant (Ditto, section 3.3): more to learn from the same labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from features.errors import InputError
from recsys.matching.words import Told

Pair = tuple[Told, Told]

#: words of a span that is deleted, and of one that is shuffled
_DELETED, _SHUFFLED = (1, 2), (2, 4)

#: an attribute of more words says too much to be left out
_SHORT = 8

#: changes that "all" makes to one pair, one after the other
_OF_ALL = 3


def _span_del(pair: Pair, random: np.random.Generator) -> Pair:
    """A span of one or two words is left out of a value that has more."""
    return _with_span(pair, random, _DELETED, keeps=1, change=lambda words: [])


def _span_shuffle(pair: Pair, random: np.random.Generator) -> Pair:
    """A span of two to four words is put in another order."""
    return _with_span(
        pair, random, _SHUFFLED, keeps=0, change=lambda words: [words[n] for n in random.permutation(len(words))]
    )


def _attr_del(pair: Pair, random: np.random.Generator) -> Pair:
    """A short attribute of a record is left out, name and all; not its last one."""
    places = [
        (side, n)
        for side, record in enumerate(pair)
        if sum(bool(words) for _, words in record) > 1
        for n, (_, words) in enumerate(record)
        if 0 < len(words) <= _SHORT
    ]
    if not places:
        return pair
    side, n = places[random.integers(len(places))]
    return _with_record(pair, side, [one for m, one in enumerate(pair[side]) if m != n])


def _attr_shuffle(pair: Pair, random: np.random.Generator) -> Pair:
    """A record tells its attributes in another order."""
    side = int(random.integers(2))
    return _with_record(pair, side, [pair[side][n] for n in random.permutation(len(pair[side]))])


def _entry_swap(pair: Pair, random: np.random.Generator) -> Pair:
    """The records change sides."""
    return pair[1], pair[0]


_OPERATIONS: dict[str, Callable[[Pair, np.random.Generator], Pair]] = {
    "span_del": _span_del,
    "span_shuffle": _span_shuffle,
    "attr_del": _attr_del,
    "attr_shuffle": _attr_shuffle,
    "entry_swap": _entry_swap,
}

#: what can be asked for
AUGMENTATIONS = ("none", *_OPERATIONS, "all")


def augment(pair: Pair, how: str, random: np.random.Generator) -> Pair:
    """A pair like this one.

    Whatever else is asked for, half of the pairs change sides first: which table a record is from decides nothing.

    Args:
        pair: It is not changed itself.
        how: "span_del", "span_shuffle", "attr_del", "attr_shuffle" or "entry_swap"; "all" makes three of them, drawn
            one by one; "none" gives the pair as it is.
        random: Draws.

    Raises:
        InputError: There is nothing of that name.
    """
    if how not in AUGMENTATIONS:
        raise InputError(f"augment is {how!r}, not one of {', '.join(AUGMENTATIONS)}")
    if how == "none":
        return pair
    if random.random() < 0.5:
        pair = _entry_swap(pair, random)
    if how == "all":
        names = [name for name in _OPERATIONS if name != "entry_swap"]
        for n in random.integers(len(names), size=_OF_ALL):
            pair = _OPERATIONS[names[n]](pair, random)
        return pair
    return pair if how == "entry_swap" else _OPERATIONS[how](pair, random)


def _with_span(
    pair: Pair, random: np.random.Generator, sizes: tuple[int, int], keeps: int, change: Callable[[list], list]
) -> Pair:
    """With one span changed, in a value that has so many words at least, and `keeps` more."""
    places = [
        (side, n)
        for side, record in enumerate(pair)
        for n, (_, words) in enumerate(record)
        if len(words) >= sizes[0] + keeps
    ]
    if not places:
        return pair
    side, n = places[random.integers(len(places))]
    attribute, words = pair[side][n]
    size = int(random.integers(sizes[0], min(sizes[1], len(words) - keeps) + 1))
    start = int(random.integers(len(words) - size + 1))
    changed = [*words[:start], *change(words[start : start + size]), *words[start + size :]]
    record = list(pair[side])
    record[n] = (attribute, changed)
    return _with_record(pair, side, record)


def _with_record(pair: Pair, side: int, record: Told) -> Pair:
    return (record, pair[1]) if side == 0 else (pair[0], record)
