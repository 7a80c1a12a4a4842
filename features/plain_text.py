"""Values of any column as people would write them, without what catalogues carry along: escapes, control characters."""

from __future__ import annotations

from html.entities import name2codepoint

import polars as pl
from polars.datatypes import DataTypeClass

from features.errors import InputError

#: what catalogues that were made for browsers write for some characters
_ESCAPED = {f"&#{code};": chr(code) for code in (*range(32, 256), *name2codepoint.values())} | {
    f"&{name};": chr(code) for name, code in {**name2codepoint, "apos": 39}.items()
}

#: control characters (a NUL, a bell, a tab) and white space, of which each run becomes one space; marks of direction
#: and the joiners of emoji stay
_NOISE = r"[\p{Cc}\s]+"

#: what can be seen, by itself; a value of nothing else is missing
_SEEN = r"[^\p{Cc}\p{Cf}\p{M}\p{Z}]"


def plain_text(values: pl.Series, subject: str = "") -> pl.Series:
    r"""A column as strings without noise, "" where there is nothing to tell. (n,)

    Args:
        values: Strings, numbers, booleans or dates, or lists of them, which are joined by commas.
        subject: What errors begin with, such as "column 'title' of shop.csv".

    Raises:
        InputError: Values of another type.

    Example:
        >>> plain_text(pl.Series(["Rose &amp; Co\x00 ", None, "\t"])).to_list()
        ['Rose & Co', '', '']
        >>> plain_text(pl.Series([2013.0, 2.5, None])).to_list(), plain_text(pl.Series([["a", "b"]])).to_list()
        (['2013', '2.5', ''], ['a, b'])
    """
    dtype = values.dtype
    lists = isinstance(dtype, pl.List | pl.Array)
    inner = dtype.inner if isinstance(dtype, pl.List | pl.Array) else dtype
    if isinstance(inner, pl.List | pl.Array | pl.Struct | pl.Binary | pl.Object | pl.Duration):
        raise InputError(f"{subject or f'column {values.name!r}'} holds {dtype}: that cannot be told")
    if lists:
        one = _as_text(pl.element(), inner)
        told = values.cast(pl.List(inner)).list.eval(one.drop_nulls()).list.join(", ")
    else:
        told = values.to_frame("value").select(_as_text(pl.col("value"), dtype)).to_series()
    return told.fill_null("").alias(values.name)


def _as_text(value: pl.Expr, dtype: pl.DataType | DataTypeClass) -> pl.Expr:
    """Values as strings without noise; null where they are missing."""
    text = value.cast(pl.String)
    if dtype.is_float():  # 2013.0 is a year that was read beside nulls
        text = value.fill_nan(None).cast(pl.String).str.strip_suffix(".0")
    if isinstance(dtype, pl.Datetime):
        text = text.str.replace(r"( 00:00:00)?(\.0+)?$", "")
    text = text.str.replace_many(_ESCAPED).str.replace_all(_NOISE, " ").str.strip_chars(" ")
    return pl.when(text.str.contains(_SEEN)).then(text)
