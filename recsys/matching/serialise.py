"""Records as sequences of tokens: COL name VAL value ..., two of them in one (Ditto, section 2.3), or each by itself.

Where there is no room for all, the longest values of a sequence are cut to one length. Of a value that is cut, its
first words stay, or those that say most (Ditto's summarisation, section 3.2), in the order in which they are told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from features.errors import InputError
from features.fair_shares import fair_shares
from recsys.matching.words import Told, Word


@dataclass(frozen=True)
class PairFrame:
    """What a model wants around two texts.

    Args:
        before: Tokens before the first.
        between: Tokens between both.
        after: Tokens after the second.
        sides: Whether tokens are told which of the two they belong to.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    sides: bool

    @classmethod
    def of(cls, tokenizer: Any) -> PairFrame:
        """That of a tokenizer of transformers; a line break between texts of a model that has nothing for it."""
        text = "a"
        own, alone, pair = (
            tokenizer(*texts, add_special_tokens=around)["input_ids"]
            for texts, around in (((text,), False), ((text,), True), ((text, text), True))
        )
        first, second = (_places(own, ids)[-1] for ids in (alone, pair))
        before, after = alone[:first], alone[first + len(own) :]
        between = pair[_places(own, pair)[0] + len(own) : second]
        if not between:  # where pairs are not thought of, what ends a text of an encoder stands between two
            between = after if before else tokenizer("\n", add_special_tokens=False)["input_ids"]
        sides = len(set(tokenizer(text, text).get("token_type_ids", [0]))) > 1
        return cls(tuple(before), tuple(between), tuple(after), sides)

    @property
    def size(self) -> int:
        """How many tokens that is."""
        return len(self.before) + len(self.between) + len(self.after)


@dataclass(frozen=True)
class Sequences:
    """B pairs as a model reads them.

    Args:
        ids: Tokens of each. (B,)
        sides: 0 for those of the first record, 1 for those of the second, with what follows each. (B,)
        shortened: How many have lost words.
    """

    ids: list[list[int]]
    sides: list[list[int]]
    shortened: int

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> list[int]:
        """How many tokens each has. (B,)"""
        return [len(one) for one in self.ids]

    def take(self, places: Sequence[int]) -> Sequences:
        """Some of them, in the given order; how many of these are shortened is not known, and counts as none."""
        return Sequences([self.ids[n] for n in places], [self.sides[n] for n in places], 0)


@dataclass(frozen=True)
class SequencesApart:
    """B pairs whose records are read by themselves.

    Args:
        left: (B,)
        right: (B,)
    """

    left: Sequences
    right: Sequences

    def __len__(self) -> int:
        return len(self.left)

    @property
    def lengths(self) -> list[int]:
        """How many tokens each pair has. (B,)"""
        return [one + other for one, other in zip(self.left.lengths, self.right.lengths, strict=True)]

    @property
    def shortened(self) -> int:
        """How many records have lost words."""
        return self.left.shortened + self.right.shortened

    def take(self, places: Sequence[int]) -> SequencesApart:
        """Some of them, in the given order."""
        return SequencesApart(self.left.take(places), self.right.take(places))


#: pairs as one kind of matcher or the other reads them
Written = Sequences | SequencesApart


class Serialiser:
    """Writes pairs, or single records.

    Args:
        names: The tokens of "COL name VAL" for each attribute.
        frame: What stands around both records.
        max_tokens: Of a sequence.
        summarise: Keeps the words of the highest weights of a value that is cut, not the first ones.
        apart: Each record of a pair has a sequence of its own.

    Raises:
        InputError: There is no room for a token of each attribute.
    """

    def __init__(
        self,
        names: Sequence[Sequence[int]],
        frame: PairFrame,
        max_tokens: int,
        summarise: bool = False,
        apart: bool = False,
    ) -> None:
        self._names, self._frame, self._summarise = [list(one) for one in names], frame, summarise
        self._max_tokens, self._apart = max_tokens, apart
        least = sum(len(one) + 1 for one in self._names)
        least = least + len(frame.before) + len(frame.after) if apart else 2 * least + frame.size
        if max_tokens < least:
            raise InputError(
                f"max_tokens is {max_tokens}, and the names of {len(self._names)} attributes"
                f"{'' if apart else ', on both sides and'} with a token each, take {least}; raise it, or tell fewer "
                "attributes"
            )

    def __call__(self, pairs: Sequence[tuple[Told, Told]]) -> Written:
        """Writes some pairs.

        Example:
            >>> word = Word("soap", (7, 8))
            >>> write = Serialiser([[1]], PairFrame((101,), (102,), (102,), sides=True), 16)
            >>> write([([(0, [word])], [(0, [])])]).ids
            [[101, 1, 7, 8, 102, 1, 102]]
        """
        if self._apart:
            return SequencesApart(*(self.alone([pair[side] for pair in pairs]) for side in (0, 1)))
        return self._sequences(pairs, (self._frame.before, self._frame.between, self._frame.after))

    def alone(self, records: Sequence[Told]) -> Sequences:
        """Writes some records, each by itself.

        Example:
            >>> write = Serialiser([[1]], PairFrame((101,), (102,), (102,), sides=True), 16)
            >>> write.alone([[(0, [Word("soap", (7, 8))])]]).ids
            [[101, 1, 7, 8, 102]]
        """
        return self._sequences([(one,) for one in records], (self._frame.before, self._frame.after))

    def _sequences(self, groups: Sequence[tuple[Told, ...]], around: tuple[tuple[int, ...], ...]) -> Sequences:
        """One sequence for the records of each group: they stand between what is around them."""
        width = len(self._names)
        lengths = np.zeros((len(groups), (len(around) - 1) * width), np.int64)
        room = np.full(len(groups), self._max_tokens - sum(map(len, around)))
        for n, group in enumerate(groups):
            for side, record in enumerate(group):
                for attribute, words in record:
                    lengths[n, side * width + attribute] += sum(len(word.tokens) for word in words)
                    room[n] -= len(self._names[attribute])
        kept = fair_shares(lengths, room)
        short = np.any(kept < lengths, axis=1)
        ids: list[list[int]] = []
        sides: list[list[int]] = []
        for n, group in enumerate(groups):
            limits = kept[n] if short[n] else None
            ids.append(list(around[0]))
            sides.append([0] * len(around[0]))
            for side, (record, after) in enumerate(zip(group, around[1:], strict=True)):
                told = [*self._written(record, limits, side * width), *after]
                ids[n] += told
                sides[n] += [side] * len(told)
        return Sequences(ids, sides, int(short.sum()))

    def _written(self, record: Told, limits: np.ndarray | None, first: int) -> list[int]:
        written: list[int] = []
        for attribute, words in record:
            written += self._names[attribute]
            if limits is None:
                for word in words:
                    written += word.tokens
            else:
                written += self._cut(words, int(limits[first + attribute]))
        return written

    def _cut(self, words: list[Word], room: int) -> list[int]:
        """The tokens of as many words as there is room for."""
        order: Sequence[int] = range(len(words))
        if self._summarise:
            order = sorted(order, key=lambda n: -words[n].weight)
        chosen = []
        for n in order:
            if len(words[n].tokens) > room:
                if not self._summarise or room < 1:
                    break
                continue
            chosen.append(n)
            room -= len(words[n].tokens)
        if not chosen and words:  # of a word that is too long itself, its beginning
            return list(words[order[0]].tokens[:room])
        return [token for n in sorted(chosen) for token in words[n].tokens]


def _places(own: list[int], ids: list[int]) -> list[int]:
    """Where a text's own tokens begin."""
    return [n for n in range(len(ids) - len(own) + 1) if ids[n : n + len(own)] == own]
