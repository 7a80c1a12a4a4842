"""The data sets of benchmarks of retrieval, by the names that their published figures have.

ml-1m            MovieLens-1M as SASRec and BERT4Rec preprocess it: all ratings, in time order
ml-1m-real-time  its users 1 to 2,999 with the true timestamps
ml-1m-plots      ratings of 4 and 5 with what is known of the films: genres, year, director, actors, plot
amazon-beauty    Amazon Beauty 2014, 5-core, with titles, brands and categories
beauty-bert4rec  Amazon Beauty as the BERT4Rec repository preprocesses it
generated        a small shop, for quick runs
diginetica       sessions of CIKM Cup 2016 as SR-GNN preprocesses them, test sessions apart: the split `given`
cit-hepth        which papers a paper of arXiv's HEP-TH cites, of papers that cite ten and more; no order
gowalla          who checked in where, as LightGCN splits it: the split `given`; no order
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import polars as pl

from features import sources
from features.dataset import Dataset
from features.errors import InputError
from features.schema import Categorical, FeatureSchema, Id, MultiValued, Sequence, Text
from features.sources.files import read_table

NAMES = (
    "generated",
    "ml-1m",
    "ml-1m-real-time",
    "ml-1m-plots",
    "amazon-beauty",
    "beauty-bert4rec",
    "diginetica",
    "cit-hepth",
    "gowalla",
)

#: papers of cit-hepth that are users cite so many others at least
CITATIONS = 10

#: where a path of categories begins in Amazon Beauty's attributes; what stands before it is the brand
MAIN_CATEGORIES = ("Bath & Body", "Fragrance", "Hair Care", "Makeup", "Skin Care", "Tools & Accessories")

#: what Amazon's items are described by
BEAUTY = FeatureSchema(
    user=(Sequence("history"),),
    item=(
        Id("item_id"),
        Categorical("brand"),
        Categorical("category"),
        Categorical("subcategory"),
        MultiValued("categories"),
        MultiValued("words"),
        Text("title"),
    ),
)


def load(name: str, root: Path | None) -> Dataset:
    """A data set by name.

    Args:
        name: See above.
        root: The folder that holds the data sets; what is generated needs none.

    Raises:
        InputError: An unknown name, or data that cannot be used.
    """
    if name == "generated":
        made = sources.load("generated", interactions=1000)
    elif name == "ml-1m":
        made = sources.load("sequences", root / "sequences" / "ml-1m-sequences.txt")
    elif name == "beauty-bert4rec":
        made = sources.load("sequences", root / "sequences" / "beauty-bert4rec.txt")
    elif name == "diginetica":
        made = sources.load("sessions", root / "diginetica")
    elif name == "gowalla":
        made = sources.load("lightgcn", root / "gowalla")
    elif name == "cit-hepth":
        made = _citations(root / "cit-hepth")
    elif name == "ml-1m-real-time":
        file = "ratings_real_timestamps_users_1_to_2999.dat"
        rated = sources.load("ml-1m", root / "ml-1m", min_rating=0, ratings_file=file).interactions
        timed = FeatureSchema(user=(Sequence("history", timed=True),))
        made = Dataset.construct(name, rated, schema=timed)  # the catalogue is what they rated, as in the other rows
    elif name == "ml-1m-plots":
        made = _films(root / "ml-1m")
    elif name == "amazon-beauty":
        made = _beauty(root / "amazon-beauty")
    else:
        raise InputError(f"there is no data set {name!r}; they are {', '.join(NAMES)}")
    return dataclasses.replace(made, name=name)


def described_by(dataset: Dataset, *names: str) -> Dataset:
    """The same data with only some of the declared item features.

    Args:
        dataset: The data set.
        names: Names of its item features.
    """
    kept = tuple(feature for feature in dataset.schema.item if feature.name in names)
    return dataclasses.replace(dataset, schema=FeatureSchema(dataset.schema.user, kept))


def _citations(folder: Path) -> Dataset:
    """The graph's edges, of nodes with `CITATIONS` outgoing ones and more; what is cited by them is the catalogue."""
    columns = {"interactions": {"file": "edges.csv", "columns": {"user_id": "source", "item_id": "target"}}}
    cited = sources.load("tables", folder, schema=columns).interactions
    return Dataset.construct("cit-hepth", cited.filter(pl.len().over("user_id") >= CITATIONS))


def _films(folder: Path) -> Dataset:
    """MovieLens-1M with the columns of `movies_extrainfos.dat`."""
    dataset = sources.load("ml-1m", folder)
    names = ("item_id", "name", "year_told", "rated", "released", "genres_told", "director", "writer", "actors", "plot")
    lines = (folder / "movies_extrainfos.dat").read_text(encoding="utf-8", errors="replace").splitlines()
    rows = [(line.split("::") + [None] * len(names))[: len(names)] for line in lines if line]
    told = pl.DataFrame(rows, schema=names, orient="row").with_columns(pl.col("item_id").cast(pl.Int64))
    wanted = [pl.col(one).replace({"N/A": None, "": None}) for one in ("director", "actors", "plot")]
    told = told.unique("item_id", keep="first").select("item_id", *wanted)
    return dataclasses.replace(dataset, items=dataset.items.join(told, on="item_id", how="left", maintain_order="left"))


def _beauty(folder: Path) -> Dataset:
    log = read_table(folder / "interactions.csv", {name: name for name in ("user_id", "item_id", "position")})
    log = log.select("user_id", "item_id", timestamp=pl.col("position").cast(pl.Int64))
    items = read_table(folder / "items.csv", {name: name for name in ("item_id", "title", "attributes")})
    return Dataset.construct("amazon-beauty", log, items.select("item_id", "title", *_described()), schema=BEAUTY)


def _described() -> list[pl.Expr]:
    """Brand, categories and words of a title, from the columns `title` and `attributes` of Amazon Beauty's items.

    The attributes are the brand, where there is one, and a path of categories, separated by bars. The same name stands
    under several main categories ("Face" is skin care, and make-up), so a category is named by its whole path. Titles
    lack for a few items, and "Unknown" is no brand.
    """
    fields = pl.col("attributes").str.split("|")
    unbranded = fields.list.first().is_in(MAIN_CATEGORIES)
    path = pl.when(unbranded).then(fields).otherwise(fields.list.slice(1)).list.unique(maintain_order=True)
    depths = [path.list.head(depth).list.join(" > ") for depth in range(1, 6)]
    brand = pl.when(~unbranded & (fields.list.first() != "Unknown")).then(fields.list.first())
    words = pl.col("title").str.to_lowercase().str.extract_all(r"[a-z][a-z0-9']+").list.unique(maintain_order=True)
    return [
        brand.alias("brand"),
        path.list.join(" > ").alias("path"),
        depths[0].alias("category"),
        pl.when(path.list.len() > 1).then(depths[1]).alias("subcategory"),
        pl.concat_list(depths).list.unique(maintain_order=True).alias("categories"),
        words.fill_null([]).alias("words"),
    ]
