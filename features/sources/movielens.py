"""MovieLens-1M as GroupLens publishes it: `ratings.dat`, `movies.dat`, `users.dat`, in a folder or its zip.

F. M. Harper and J. A. Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 5(4), 2015. The data is for
research and may not be passed on, so it is fetched from its publisher where no copy is given.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import polars as pl

from features.dataset import Dataset
from features.errors import InputError
from features.schema import Categorical, FeatureSchema, Id, MultiValued, Sequence, Text
from features.sources.download import fetch

URL = "https://files.grouplens.org/datasets/movielens/ml-1m.zip"
MD5 = "c4d9eecfca2ab87c1945afe126590906"

# Neither the user's id nor the zip code: with a vector for each of 6,040 users and 3,439 zip codes, a two-tower model
# remembers its training users, and ranks their validation items worse than from histories alone.
SCHEMA = FeatureSchema(
    user=(Categorical("gender"), Categorical("age"), Categorical("occupation"), Sequence("history")),
    item=(Id("item_id"), MultiValued("genres"), Categorical("year"), Text("title")),
)


def load(root: Path | None = None, min_rating: int = 4, ratings_file: str = "ratings.dat") -> Dataset:
    """MovieLens-1M.

    Args:
        root: The official folder, the zip, or a folder that holds either; fetched from the publisher where not given.
        min_rating: Ratings of at least so much count as interactions; 0 keeps all. The rating is the column `weight`.
        ratings_file: Another file of the folder in the same format.

    Returns:
        Items are all of `movies.dat`, rated or not.

    Raises:
        InputError: A file that is missing, or a line (by number) that is not as published.
    """
    root = fetch(URL, MD5) if root is None else root
    if not 0 <= min_rating <= 5:
        raise InputError(f"min_rating is 0 to 5, got {min_rating}")
    ratings = _table(root, ratings_file, {"user_id": int, "item_id": int, "weight": int, "timestamp": int})
    movies = _table(root, "movies.dat", {"item_id": int, "name": str, "genres": str})
    users = _table(root, "users.dat", {"user_id": int, "gender": str, "age": int, "occupation": int, "zip": str})
    title_and_year = pl.col("name").str.extract_groups(r"^(?<title>.*?)\s*(?:\((?<year>\d{4})\))?\s*$").struct
    movies = movies.select(
        "item_id",
        title_and_year.field("title"),
        title_and_year.field("year").cast(pl.Int64),
        "genres",
    )
    ratings = ratings.filter(pl.col("weight") >= min_rating)
    return Dataset.construct("ml-1m", ratings, movies, users, SCHEMA)


def _table(root: Path, name: str, columns: dict[str, type]) -> pl.DataFrame:
    """Lines of fields separated by two colons, in latin-1."""
    lines = pl.Series("line", _read(root, name).decode("latin-1").split("\n")).str.strip_chars_end("\r")
    if len(lines) and lines[-1] == "":
        lines = lines[:-1]
    if not len(lines):
        raise InputError(f"{name} of {root} is empty")
    fields = lines.str.split("::")
    if len(odd := (fields.list.len() != len(columns)).arg_true()):
        ragged = odd[0]
        raise InputError(
            f"line {ragged + 1} of {name} has {len(fields[ragged])} fields separated by '::', not {len(columns)}: "
            f"{lines[ragged][:80]!r}"
        )
    table = {}
    for at, (column, kind) in enumerate(columns.items()):
        values = fields.list.get(at).alias(column)
        if kind is int:
            numbers = values.cast(pl.Int64, strict=False)
            if numbers.null_count():
                line = numbers.is_null().arg_true()[0]
                raise InputError(f"line {line + 1} of {name} has {values[line]!r} as its {column}, not a whole number")
            values = numbers
        table[column] = values
    return pl.DataFrame(table)


def _read(root: Path, name: str) -> bytes:
    """A file of the official folder or of the official zip."""
    if not root.exists():
        raise InputError(f"there is no {root}; root is the folder or the zip of MovieLens-1M")
    if root.is_dir():
        for folder in (root, root / "ml-1m"):
            if (folder / name).is_file():
                return (folder / name).read_bytes()
        archives = sorted(root.glob("*.zip"))
        if not archives:
            raise InputError(f"the folder {root} holds neither {name} nor a zip of MovieLens-1M")
        root = next((one for one in archives if one.name == "ml-1m.zip"), archives[0])
    try:
        with zipfile.ZipFile(root) as archive:
            inside = next((one for one in archive.namelist() if one.rsplit("/", 1)[-1] == name), None)
            if inside is None:
                raise InputError(f"the zip {root} holds no {name}")
            return archive.read(inside)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InputError(f"{root} is not a whole zip file ({error}); fetch it again") from error
    except OSError as error:
        raise InputError(f"{root} cannot be read: {error.strerror or error}") from error
