"""Items that have come since the model was built: read as they come, kept beside the index, found at once.

The next build makes them ordinary items.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from features.errors import InputError
from features.item_log import ItemLog
from serving.bundles.bundle import Bundle
from serving.lists.item_reader import ItemReader
from serving.lists.raw_ids import FieldError, is_id
from serving.lists.shelf import Placed, Shelf

#: how many there may be: all are compared with every query
MOST = 100_000

Said = Mapping[str, Any]


class NewItems:
    """The new items of a bundle's model. Safe to share between threads: who asks never waits for who adds.

    Args:
        bundle: Whose model reads them.
        shelf: Its own items.
        log: Where new ones are kept for the next start and the next build; none for this process alone.

    Raises:
        InputError: A log that cannot be read or is another catalogue's, or texts and no language model to read them.
    """

    def __init__(self, bundle: Bundle, shelf: Shelf, log: ItemLog | None = None) -> None:
        self._ids, self._log = shelf.ids, log
        self._reader = ItemReader(bundle)
        self._reading, self._changing = threading.Lock(), threading.Lock()
        #: what can be recommended now; whoever answers takes it once
        self.shelf = shelf
        #: kept items that have no place in this model, and why: what follows an id in a sentence
        self.left_out: dict[str | int, str] = {}
        self._placed: dict[str | int, Placed] = {}
        self._said: dict[str | int, Said] = {}
        self._as_of: tuple[int, ...] | None = None
        # a model that reads texts aside may take its time, and nobody is to wait for it before the first answer
        self._later = bundle.text is not None and bundle.text.aside is not None
        if not self._later:
            self.refresh()

    def __len__(self) -> int:
        return self.shelf.n_new

    @property
    def kept(self) -> bool:
        """Whether they are there again after the next start."""
        return self._log is not None

    @property
    def columns(self) -> list[str]:
        """What can be said of an item; nothing where the model knows items by their ids alone."""
        return list(self._reader.columns) if self._reader.reads_items else []

    @property
    def notice(self) -> str | None:
        """What an operator should know of what was kept; nothing where all of it is here."""
        if not self.left_out or self._log is None:
            return None
        example, why = next(iter(self.left_out.items()))
        return f"{self._log.path}: {len(self.left_out):,} left out, such as {example!r}, which {why}"

    def refresh(self) -> None:
        """Takes in what is in the log by now, as other processes may have written to it.

        Raises:
            InputError: A log that cannot be read or is another catalogue's. What was here before still is.
        """
        if self._log is None:
            return
        if self._log.state() != self._as_of:  # else there is nothing to wait for
            with self._reading, self._changing:
                self._refresh(self._log)

    def _refresh(self, log: ItemLog) -> None:
        if (as_of := log.state()) != self._as_of:
            self._restore(log)
            self._as_of = as_of

    def add(self, items: Sequence[tuple[str | int, Said]]) -> int:
        """Takes items in; one that has come before is replaced.

        Args:
            items: Raw ids, and attributes by column.

        Returns:
            How many were taken in, new ones or in place of what was said of them before.

        Raises:
            FieldError: An id that the catalogue has or that occurs twice, an attribute that is not declared or cannot
                be used, an item of which nothing is said that the model reads, or more items than there may be.
            InputError: The language model is not here, or the log cannot be written. Nothing has been taken in.
        """
        ids, said = self._checked(items)
        if not ids:
            return 0
        with self._reading:
            found = self._reader.read(said)
        for n, why in found.refused.items():
            raise FieldError(f"items[{n}] {why}", "items", n)
        with self._changing:
            placed = {**self._placed, **dict(zip(ids, found.placed, strict=True))}
            if len(placed) > MOST:
                raise FieldError(f"there may be {MOST:,} new items, and with these there would be more", "items")
            told = dict(zip(ids, said, strict=True))
            self._change(placed, {**self._said, **told}, lambda log: log.add(told))
        return len(ids)

    def remove(self, items: Sequence[str | int]) -> int:
        """Takes items out again, and says how many there were; others are no error.

        Raises:
            FieldError: An id of a type that the catalogue's ids are not.
            InputError: The log cannot be written. Nothing has been taken out.
        """
        self.refresh()  # another process may have taken in what is to go
        asked = {self._ids.canonical(one, n, ("item_ids",)) for n, one in enumerate(items)}
        with self._changing:
            gone = [one for one in self._placed if one in asked]
            if gone:
                placed = {one: where for one, where in self._placed.items() if one not in asked}
                self._change(placed, self._said, lambda log: log.remove(gone))
        return len(gone)

    def _change(
        self, placed: dict[str | int, Placed], said: dict[str | int, Said], write: Callable[[ItemLog], None]
    ) -> None:
        """Other items than before, from the next request on; what cannot be kept is not taken in either."""
        shelf = self.shelf.with_new(placed)
        if self._log is not None:
            write(self._log)
        self._placed, self._said, self.shelf = placed, said, shelf

    def _checked(self, items: Sequence[tuple[str | int, Said]]) -> tuple[list[str | int], list[dict[str, Any]]]:
        """Ids in the catalogue's own type, and what is said of each."""
        if not self._reader.reads_items:
            raise FieldError("this model knows items by their ids alone, so it cannot place a new one", "items")
        ids: list[str | int] = []
        for n, (item, said) in enumerate(items):
            mine = self._ids.canonical(item, n, ("items",))
            if mine is None or not is_id(mine):
                kind = "64-bit integers" if self._ids.integers else "strings of valid Unicode"
                raise FieldError(f"items[{n}] has the id {item!r:.60}, and ids here are {kind}", "items", n)
            if not isinstance(said, Mapping):
                raise FieldError(f"items[{n}] says a {type(said).__name__}, not names and values", "items", n)
            for name in said:
                if name not in self._reader.columns:
                    known = ", ".join(self._reader.columns)
                    raise FieldError(f"items[{n}] has {name!r:.60}; what can be said is: {known}", "items", n)
            ids.append(mine)
        for n, row in enumerate(self._ids.rows(ids, "items").tolist()):
            if row >= 0:
                raise FieldError(f"items[{n}] has the id {ids[n]!r:.60}, which the catalogue has", "items", n)
        twice = next((one for one, times in Counter(ids).items() if times > 1), None)
        if twice is not None:
            raise FieldError(f"items has {twice!r:.60} {ids.count(twice)} times", "items")
        return ids, [dict(said) for _, said in items]

    def _restore(self, log: ItemLog) -> None:
        """Takes in what was kept, but for what the catalogue has by now and what has no place in this model."""
        kept: dict[str | int, Said] = {}
        left_out: dict[str | int, str] = {}
        for n, (item, said) in enumerate(log.read().items()):
            try:
                mine = self._ids.canonical(item, n, ("items",))
            except FieldError as error:
                raise InputError(f"the new items {log.path} are not this model's: {error}") from None
            if mine is None or not is_id(mine):
                left_out[item] = "is no id here"
            else:
                kept[mine] = said
        rows = self._ids.rows(list(kept), "items").tolist()
        kept = {one: said for (one, said), row in zip(kept.items(), rows, strict=True) if row < 0}
        if not self._reader.reads_items:
            self.left_out = left_out | dict.fromkeys(
                kept, "cannot be placed by a model that knows items by their ids alone"
            )
            return
        # what has been read already need not be read again
        placed = {
            one: self._placed[one] for one, said in kept.items() if self._said.get(one) == said and one in self._placed
        }
        waiting = {one: said for one, said in kept.items() if one not in placed}
        self._leave_out_misfits(waiting, left_out)
        if waiting:
            found = self._reader.read(list(waiting.values()), again=True)
            ids = list(waiting)
            left_out |= {ids[n]: why for n, why in found.refused.items()}
            placed |= {one: where for one, where in zip(ids, found.placed, strict=True) if one not in left_out}
        self.left_out, self._said = left_out, kept
        if waiting or len(placed) < len(self._placed):
            self._placed, self.shelf = placed, self.shelf.with_new(placed)

    def _leave_out_misfits(self, waiting: dict[str | int, Said], left_out: dict[str | int, str]) -> None:
        """Takes out those of which something is said that its column cannot hold, as another model's could."""
        try:
            self._reader.frame(list(waiting.values()))
        except FieldError:  # which of them, is found out by one after the other
            for item, said in list(waiting.items()):
                try:
                    self._reader.frame([said])
                except FieldError as error:
                    left_out[item] = str(error).removeprefix("items[0] ")
                    del waiting[item]
