"""Reading one table from a CSV or parquet file, and saying in one sentence why it cannot be read."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import polars as pl

from features.errors import InputError
from features.ids import integers_if_exact

SUFFIXES = (".parquet", ".csv", ".tsv")

#: bytes of a field that are looked through for a line that is too short; polars reads any
_LONGEST_FIELD = 1 << 30


def read_table(
    path: Path,
    columns: dict[str, str] | None,
    separator: str | None = None,
    remedy: Callable[[list[str]], str] | None = None,
) -> pl.DataFrame:
    """A table with canonical column names.

    CSV columns are read as text; the caller turns them into ids or, with `typed`, into what they look like.

    Args:
        path: A .csv, .tsv or .parquet file.
        columns: Canonical name to the file's name of the columns to read; all, under their own names, where not given.
        separator: Of a CSV file: a comma, or a tab for .tsv, where not given.
        remedy: What to do where a column that nobody has named otherwise is missing, from the columns that there are.

    Raises:
        InputError: A file that is missing, empty or damaged, a line with too few or too many fields (by number), or a
            missing column.
    """
    _check_there(path)
    separator = separator or _separator(path)
    try:
        frame = pl.scan_parquet(path) if path.suffix == ".parquet" else _scan_csv(path, separator)
        there = frame.collect_schema().names()
        _refuse_other_separator(path, there)
        if columns is not None:
            for name, column in columns.items():
                if column not in there:
                    wanted = f"{column!r}" if name == column else f"{column!r} (for {name})"
                    what = f"; {remedy(there)}" if remedy is not None and name == column else ""
                    raise InputError(f"{path} has no column {wanted}; its columns are {', '.join(there)}{what}")
            frame = frame.select(pl.col(column).alias(name) for name, column in columns.items())
        table = frame.collect()
    except UnicodeDecodeError as error:
        raise InputError(_no_text(path)) from error
    except (OSError, pl.exceptions.PolarsError) as error:
        if path.suffix != ".parquet":
            _refuse_ragged(path, separator)
        raise InputError(f"{path} cannot be read: {str(error).strip().splitlines()[0]}") from error
    if not table.height:
        raise InputError(f"{path} has a header and no row" if path.suffix != ".parquet" else f"{path} has no row")
    if path.suffix != ".parquet" and there[-1:] and _ends_in_nulls(table, there[-1], columns):
        _refuse_ragged(path, separator)
    return table


def columns_of(path: Path) -> list[str]:
    """What the columns of a table are called.

    Raises:
        InputError: As `read_table`, of what can be seen without reading it whole.
    """
    _check_there(path)
    try:
        frame = pl.scan_parquet(path) if path.suffix == ".parquet" else _scan_csv(path, _separator(path))
        there = frame.collect_schema().names()
    except UnicodeDecodeError as error:
        raise InputError(_no_text(path)) from error
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path} cannot be read: {str(error).strip().splitlines()[0]}") from error
    _refuse_other_separator(path, there)
    return there


def read_lines(path: Path) -> pl.DataFrame:
    """The lines of a text file that are not blank.

    Returns:
        Columns line (its number, from 1) and text.

    Raises:
        InputError: A file that is missing, not text, or empty.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(_no_text(path)) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    lines = pl.DataFrame({"text": text.split("\n")}).with_row_index("line", offset=1)
    lines = lines.filter(pl.col("text").str.strip_chars() != "")
    if not lines.height:
        raise InputError(f"{path} is empty")
    return lines


def typed(values: pl.Series) -> pl.Series:
    """A text column as integers, numbers or booleans, if all of it reads as such; else as it is.

    Zip codes with leading zeros stay text, because as integers they would not be written the same.
    """
    if values.dtype != pl.String or values.null_count() == len(values):
        return values
    (integers,) = integers_if_exact(values)
    if integers.dtype == pl.Int64:
        return integers
    filled = values.drop_nulls()
    if filled.str.contains(r"^0\d").any():
        return values
    numbers = values.cast(pl.Float64, strict=False)
    if numbers.null_count() == values.null_count():
        return numbers
    if filled.str.to_lowercase().is_in(["true", "false"]).all():
        return values.str.to_lowercase() == "true"
    return values


def _check_there(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path} is not a .csv, .tsv or .parquet file")
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    if not path.stat().st_size:
        raise InputError(f"{path} is empty")


def _separator(path: Path) -> str:
    return "\t" if path.suffix == ".tsv" else ","


def _scan_csv(path: Path, separator: str) -> pl.LazyFrame:
    return pl.scan_csv(path, separator=separator, infer_schema=False)


def _refuse_other_separator(path: Path, columns: list[str]) -> None:
    """A table with one column is one whose separator is not known, where its name has another separator in it."""
    other = next((one for one in ";\t|" if len(columns) == 1 and one in columns[0]), None)
    if other is not None and path.suffix != ".parquet":
        wanted = "tabs" if path.suffix == ".tsv" else "commas"
        raise InputError(
            f"{path} is separated by {other!r}, and not by {wanted}: its one column is {columns[0][:80]!r}"
        )


def _no_text(path: Path) -> str:
    """Names the first line that is not UTF-8."""
    with path.open("rb") as file:
        for n, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                near = line[max(error.start - 20, 0) : error.end + 20].decode("latin-1").strip()
                return f"line {n:,} of {path} is not UTF-8 text, near {near!r}: save it as UTF-8 (iconv -t UTF-8 does)"
    return f"{path} is not UTF-8 text"


def _ends_in_nulls(table: pl.DataFrame, last: str, columns: dict[str, str] | None) -> bool:
    """Whether lines may be too short: polars fills what is missing at their ends with nulls."""
    names = [last] if columns is None else [name for name, column in columns.items() if column == last]
    return not names or table[names[0]].null_count() > 0


def _refuse_ragged(path: Path, separator: str) -> None:
    """Names the first line whose number of fields differs from the header's, if there is one."""
    limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=separator)
            header = next(reader, [])
            for fields in reader:
                if fields and len(fields) != len(header):
                    raise InputError(
                        f"line {reader.line_num} of {path} has {len(fields)} fields, and its header {len(header)}: "
                        f"{separator.join(fields)[:80]!r}"
                    )
    except UnicodeDecodeError as error:
        raise InputError(_no_text(path)) from error
    except csv.Error as error:
        raise InputError(f"line {reader.line_num} of {path} cannot be read as CSV: {error}") from error
    finally:
        csv.field_size_limit(limit)
