"""Tables whose columns are called otherwise: all that is wrong with them in one line, which ends in what mends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from features.errors import InputError

#: attributes of which a mapping is spelled out
_SPELLED = 3


@dataclass(frozen=True)
class AskedTable:
    """A table, and which columns are asked of it.

    Args:
        path: The file.
        id_column: Its ids.
        id_option: What names another column of ids, such as "--left-id COLUMN".
        columns_option: What maps attributes to columns, but for the mapping, such as "--left-columns ".
        columns: Attributes with the columns that say them, "" for none; all but the ids, where not given.
        untold: Of these, attributes that may have no column, as long as one of the columns is there.
        like: Where no columns are given, those of this table.
    """

    path: Path
    id_column: str
    id_option: str
    columns_option: str
    columns: Mapping[str, str] | None = None
    untold: Sequence[str] = ()
    like: AskedTable | None = field(default=None, repr=False)

    @property
    def attributes(self) -> list[str]:
        """What is told of its records."""
        if self.columns is not None:
            return list(self.columns)
        there = _columns(self.path)
        # which column has the ids is not known where it is called otherwise: the first one, in all likelihood
        return [one for one in there if one != (self.id_column if self.id_column in there else there[0])]

    def wrong(self) -> str | None:
        """What is wrong with its columns, and the options that mend it."""
        there = _columns(self.path)
        columns = self.columns
        if columns is None and self.like is not None:
            columns = {one: one for one in self.like.attributes}
        lacking = {name: column for name, column in (columns or {}).items() if column and column not in there}
        if len(lacking) < len(columns or ()):
            lacking = {name: column for name, column in lacking.items() if name not in self.untold}
        mend = []
        missing = list(lacking.values())
        if self.id_column not in there:
            missing.insert(0, self.id_column)
            mend.append(f"name its column of ids with {self.id_option}")
        if lacking:
            spelled = ",".join(f"{one}=COLUMN" for one in list(lacking)[:_SPELLED])
            more = ",..." if len(lacking) > _SPELLED else ""
            none = f" ({next(iter(lacking))}= where none is)" if len(lacking) < len(columns or ()) else ""
            mend.append(f"say which of them is which attribute with {self.columns_option}{spelled}{more}{none}")
        if not mend:
            return None
        names = " or ".join(map(repr, dict.fromkeys(missing)))
        return f"{self.path} has no column {names}; its columns are {', '.join(there)}: {', and '.join(mend)}"


def check_tables(tables: Sequence[AskedTable]) -> None:
    """Refuses tables that lack columns.

    Raises:
        InputError: Names the columns of all of them, and the options.
    """
    if wrong := [said for said in (one.wrong() for one in tables) if said is not None]:
        raise InputError("; ".join(wrong))


def check_pairs(paths: Sequence[Path], columns: Mapping[str, str] | None, labelled: bool = False) -> None:
    """Refuses tables of pairs without columns of ids, or of labels where these are wanted.

    Raises:
        InputError: Names the columns, and the option.
    """
    for path in paths:
        there = _columns(path)
        ids = () if {"ltable_id", "rtable_id"} <= set(there) else ("left_id", "right_id")
        wanted = (*ids, "label") if labelled else ids
        if lacking := [one for one in wanted if one not in {*there, *(columns or ())}]:
            names, mend = " or ".join(map(repr, lacking)), ",".join(f"{one}=COLUMN" for one in lacking)
            raise InputError(
                f"{path} has no column {names}; its columns are {', '.join(there)}: say which of them stands for that "
                f"with --pairs-columns {mend}"
            )


def _columns(path: Path) -> list[str]:
    from features.sources.files import columns_of  # which loads polars

    return columns_of(path)
