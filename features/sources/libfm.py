"""Tables of examples in libFM's format: a label, then `index:1` for each field, in a fixed order of fields."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from features.errors import InputError


def read_libfm(files: Sequence[Path]) -> pl.DataFrame:
    """Lines of one or more files as one table: what FM papers publish Frappe and similar sets as.

    Only fields of one value each are read: every line has the same number of fields, each with the value 1.

    Args:
        files: Text files, joined in the given order.

    Returns:
        Columns label (1 or 0; the files say 1 and -1, or 1 and 0), field_0, field_1, ... (Int64 feature indices).

    Raises:
        InputError: A file that is missing or empty, or a line, by number, that is not as described.
    """
    return pl.concat([_read(Path(file)) for file in files])


def _read(path: Path) -> pl.DataFrame:
    try:
        lines = pl.Series("line", path.read_text(encoding="utf-8").splitlines(), dtype=pl.String).str.strip_chars()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text: {error}") from error
    lines = lines.filter(lines != "")
    if not len(lines):
        raise InputError(f"{path} is empty")
    fields = lines.str.split(" ")
    width = len(fields[0])
    _refuse(path, fields.list.len() != width, lines, f"does not have {width - 1} fields as the first one has")
    table = {}
    for at in range(width):
        text = fields.list.get(at)
        if at:
            _refuse(path, ~text.str.ends_with(":1"), lines, f"has a field {at} that is not written index:1")
            text = text.str.strip_suffix(":1")
        numbers = text.cast(pl.Int64, strict=False)
        _refuse(path, numbers.is_null(), lines, f"has no whole number as its {f'field {at}' if at else 'label'}")
        table[f"field_{at - 1}" if at else "label"] = numbers
    _refuse(path, ~table["label"].is_in([-1, 0, 1]), lines, "has a label other than 1, 0 and -1")
    table["label"] = (table["label"] == 1).cast(pl.Int64)
    return pl.DataFrame(table)


def _refuse(path: Path, wrong: pl.Series, lines: pl.Series, what: str) -> None:
    if wrong.any():
        at = wrong.arg_true()[0]
        raise InputError(f"line {at + 1} of {path} {what}: {lines[at][:80]!r}")
