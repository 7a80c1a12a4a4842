"""A folder of CSV or parquet tables: interactions, and perhaps items and users. The way most data comes in.

    folder/
        interactions.csv     user_id, item_id, timestamp
        items.parquet        item_id, title, ...            (optional)
        users.csv            user_id, ...                   (optional)
        schema.yaml          what differs from the above    (optional)

`schema.yaml` may name files and columns, and declares features:

    interactions: {file: ratings.csv, separator: ";", columns: {user_id: uid, item_id: movie, timestamp: rated_at}}
    items: {columns: {item_id: movie}}
    features:
      user: [{name: user_id, kind: id}, {name: history, kind: sequence}]
      item: [{name: item_id, kind: id}, {name: genres, kind: multi_valued}, {name: title, kind: text}]

Without declared features, they are inferred (`features.inference`). Without a timestamp, the order of the file counts;
`interactions: {dated: false}` says that timestamps are no more than that: places in an order.
"""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any, Literal

import polars as pl
import yaml

from features.dataset import Dataset
from features.errors import InputError
from features.ids import integers_if_exact
from features.inference import infer_schema
from features.schema import FeatureSchema, Sequence
from features.sources.column_names import how_to_map
from features.sources.files import SUFFIXES, read_table, typed

_TABLES = {"interactions": ("user_id", "item_id"), "items": ("item_id",), "users": ("user_id",)}
_OPTIONS = ("file", "separator", "columns")
_OPTIONS_OF = {"interactions": (*_OPTIONS, "dated"), "items": _OPTIONS, "users": _OPTIONS}


def load(
    root: Path | None = None,
    schema: str | Path | dict[str, Any] | None = None,
    on_orphans: Literal["count", "error"] = "count",
) -> Dataset:
    """Tables from files.

    Ids in CSV files are read as text, and become integers only if all of them, in all tables, are
    written as integers are.

    Args:
        root: The folder, or the one file with the interactions.
        schema: What `schema.yaml` would say: another file, or a dictionary.
        on_orphans: What to do about interactions whose item or user is not in its table: "count" or "error".

    Raises:
        InputError: Anything that does not fit, naming file, column, line or setting.
    """
    if root is None:
        raise InputError("the source 'tables' reads a folder or a file; give its path as root")
    if not root.exists():
        raise InputError(f"there is no {root}")
    settings = _settings(root, schema)
    folder = root if root.is_dir() else root.parent
    features = settings.get("features")
    declared = None if features is None else FeatureSchema.from_json(features)
    tables: dict[str, pl.DataFrame] = {}
    text: set[str] = set()  # the tables that come from text files, in which an id has no type yet
    for table, ids in _TABLES.items():
        options = settings.get(table) or {}
        path = root if table == "interactions" and root.is_file() else _find(folder, table, options, root.is_file())
        if path is not None:
            tables[table] = _read(path, table, ids, options, declared, root.is_dir())
            if path.suffix != ".parquet":
                text.add(table)
    dated = _dated(settings) and "timestamp" in tables["interactions"].columns
    if "timestamp" not in tables["interactions"].columns:
        tables["interactions"] = tables["interactions"].with_columns(timestamp=pl.int_range(pl.len(), dtype=pl.Int64))
    for column in ("user_id", "item_id"):
        holders = [table for table, frame in tables.items() if column in _TABLES[table]]
        if any(table not in text and not tables[table].schema[column].is_integer() for table in holders):
            continue  # a parquet file says that they are strings
        columns = integers_if_exact(*(tables[table][column] for table in holders))
        for table, values in zip(holders, columns, strict=True):
            tables[table] = tables[table].with_columns(values)
    items, users = tables.get("items"), tables.get("users")
    return Dataset.construct(
        root.stem if root.is_file() else root.resolve().name,
        tables["interactions"],
        items,
        users,
        declared or infer_schema(items, users),
        on_orphans,
        dated,
    )


def write_tables(dataset: Dataset, folder: Path | str) -> None:
    """Writes a data set as a folder that `load` reads: parquet tables and a `schema.yaml`.

    Raises:
        InputError: The folder exists and is not empty.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not an empty folder")
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        content: dict[str, Any] = {}
        for table in _TABLES:
            frame = getattr(dataset, table)
            frame.write_parquet(partial / f"{table}.parquet")
            content[table] = {"columns": {one: one for one in frame.columns}}
        if not dataset.dated:
            content["interactions"]["dated"] = False
        content["features"] = dataset.schema.to_json()
        (partial / "schema.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        partial.replace(folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _settings(root: Path, schema: str | Path | dict[str, Any] | None) -> dict[str, Any]:
    """The content of `schema.yaml`, or of what was given in its place, checked for unknown keys."""
    name = "schema.yaml"
    if schema is None and root.is_dir() and (root / name).is_file():
        schema = root / name
    if isinstance(schema, str | Path):
        name = str(schema)
        try:
            schema = yaml.safe_load(Path(schema).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{name} cannot be read: {error.strerror}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"{name} is not YAML: {' '.join(str(error).split())}") from error
    schema = schema or {}
    if not isinstance(schema, dict):
        raise InputError(f"{name} is not a mapping of {', '.join(_TABLES)} and features")
    for key, value in schema.items():
        if key not in _TABLES and key != "features":
            raise InputError(f"{name} has an unknown key {key!r}; it takes {', '.join(_TABLES)} and features")
        if value is not None and not isinstance(value, dict):
            raise InputError(f"{key!r} in {name} is not a mapping")
        for option in (value or {}) if key in _TABLES else ():
            if option not in _OPTIONS_OF[key]:
                takes = ", ".join(_OPTIONS_OF[key])
                raise InputError(f"{key!r} in {name} has an unknown key {option!r}; it takes {takes}")
    return schema


def _dated(settings: dict[str, Any]) -> bool:
    """Whether the timestamps, if there are any, are said to be moments."""
    dated = (settings.get("interactions") or {}).get("dated", True)
    if not isinstance(dated, bool):
        raise InputError(f"'dated' of interactions is true or false, got {dated!r}")
    return dated


def _find(folder: Path, table: str, options: dict[str, Any], alone: bool) -> Path | None:
    """The file of a table; None for a table that is optional and not there."""
    if "file" in options:
        return folder / str(options["file"])
    if alone:
        return None
    found = [folder / f"{table}{suffix}" for suffix in SUFFIXES if (folder / f"{table}{suffix}").is_file()]
    if len(found) > 1:
        raise InputError(f"{folder} holds {' and '.join(one.name for one in found)}; name one of them in schema.yaml")
    if not found and table == "interactions":
        raise InputError(
            f"the folder {folder} holds no interactions.csv or interactions.parquet, and no schema.yaml names one"
        )
    return found[0] if found else None


def _read(
    path: Path,
    table: str,
    ids: tuple[str, ...],
    options: dict[str, Any],
    declared: FeatureSchema | None,
    in_folder: bool,
) -> pl.DataFrame:
    """One table; of parquet files, only the columns that are needed are read."""
    given = options.get("columns") or {}
    if not isinstance(given, dict):
        raise InputError(f"'columns' of {table} maps our names to yours, such as user_id: uid, got {given!r}")
    separator = options.get("separator")
    remedy = partial(how_to_map, table, ids, in_folder=in_folder)
    if table == "interactions":
        columns = {**{name: name for name in ids}, **{name: column for name, column in given.items() if column}}
        if "timestamp" not in given and "timestamp" in _names(path, separator):
            columns["timestamp"] = "timestamp"
        frame = read_table(path, columns, separator, remedy)
        others = [column for column in frame.columns if column not in ids]
        frame = frame.with_columns(
            _timestamps(frame[one]) if one == "timestamp" else typed(frame[one]) for one in others
        )
        return frame
    columns = {**{name: name for name in ids}, **given}
    if declared is None:
        for name in _names(path, separator):
            if name not in columns.values():
                columns.setdefault(name, name)
    else:
        side = declared.item if table == "items" else declared.user
        for feature in side:
            if not isinstance(feature, Sequence):
                columns.setdefault(feature.column, feature.column)
    frame = read_table(path, columns, separator, remedy)
    return frame.with_columns(typed(frame[column]) for column in frame.columns if column not in ids)


def _names(path: Path, separator: str | None) -> list[str]:
    """The columns of a file; none of one that cannot be read, which reading it will say."""
    try:
        if path.suffix == ".parquet":
            return list(pl.read_parquet_schema(path))
        separator = separator or ("\t" if path.suffix == ".tsv" else ",")
        return pl.scan_csv(path, separator=separator, infer_schema=False).collect_schema().names()
    except (OSError, pl.exceptions.PolarsError):
        return []


def _timestamps(values: pl.Series) -> pl.Series:
    """Text as integers or as datetimes, if all of it reads as such; what is neither, `Dataset` will refuse."""
    if values.dtype != pl.String:
        return values
    values = typed(values)
    if values.dtype == pl.String:
        try:
            return values.str.to_datetime(time_unit="us", time_zone="UTC")
        except pl.exceptions.PolarsError:
            return values
    return values
