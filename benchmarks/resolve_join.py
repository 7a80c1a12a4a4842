"""What entities are worth to a recommender: MovieLens-1M, its catalogue told by two feeds, each event in one of them.

Each film has a record in both feeds, under ids that have nothing to do with each other; titles are mistyped, turned
round ("Matrix, The" and "The Matrix"), and told with the year or without; genres are left out. Each interaction names
the record of one feed, at random. Three arms are trained with the same settings, seeds and events (two-tower, ids and
histories; leave-one-out):

- *raw*: items are records, as they come;
- *resolved*: items are entities, found without a label by `recsys resolve` with one-to-one;
- *true*: items are films.

In every arm, a film's score is the highest of the items that are it (an entity is the film that most of its records
are, and a film that none is cannot be found); films that a user has seen under any name are left out; the ten best
are the list. Targets and seen films are those of the log, whatever an arm takes them for. "share won back" is how
much of HR@10 that the split has lost the entities bring back; intervals are of pairs (95%, over users, mean of seeds).
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from intervals import paired_interval
from kept_runs import remembered, run_all
from report import Report, arguments

from features import sources
from features.batches import JaggedArray
from features.dataset import Dataset
from features.entity_items import through_entities
from features.prepared import Prepared
from features.record_pairs import RecordPairs
from features.records import Records
from features.schema import FeatureSchema, Id, Sequence
from features.splits import TEST, make_split
from recsys.entities.agreement import against_labels
from recsys.retrievers import encode_catalogue
from training.config import load_config
from training.entities.config import ResolveConfig
from training.entities.resolve import resolve
from training.evaluation import Evaluation
from training.interests import user_vectors
from training.two_tower_fit import fit

ARMS = ("raw", "resolved", "true")
FEEDS = ("a", "b")
SEEDS = 3
K = 10
_LETTERS = list("abcdefghijklmnopqrstuvwxyz")


def main() -> None:
    """Trains, measures, prints and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, of one thread each")
    parser.add_argument("--runs", type=Path, help="a folder that keeps each run's hits, so that none is made twice")
    options = parser.parse_args()
    if not options.quick and options.data_root is None:
        raise SystemExit("resolve_join.py: --data-root FOLDER is needed (a folder that holds ml-1m)")
    report = Report("resolve_join", options.quick, whole=not options.runs)
    name, seeds = ("generated", 1) if options.quick else ("ml-1m", SEEDS)
    tables, _ = two_feeds(read(name, options.data_root)[0])
    said = found_entities(tables)[1]
    for metric in ("f1", "precision", "recall"):
        report.add(f"{name}/entities", metric, said[metric])
    jobs = [(options.data_root, options.runs, name, arm, seed) for arm in ARMS for seed in range(seeds)]
    hits: dict[str, list[np.ndarray]] = {}
    for job, answer in run_all(measure, jobs, 1 if options.quick else options.processes):
        hits.setdefault(job[3], []).append(np.array(answer["ranks"]))
    values = {arm: np.stack(some) for arm, some in hits.items()}  # ranks from 0: (seeds, users)
    for arm, ranks in values.items():
        found = (ranks < K).mean(axis=1)
        ndcg = np.where(ranks < K, 1 / np.log2(ranks + 2.0), 0).mean(axis=1)
        report.add_runs(f"{name}/{arm}", f"hr@{K}", found.tolist(), settings={"users": ranks.shape[1]})
        report.add_runs(f"{name}/{arm}", f"ndcg@{K}", ndcg.tolist())
    mean = {arm: (ranks < K).mean(axis=0) for arm, ranks in values.items()}  # (users,)
    for one, other in (("true", "raw"), ("resolved", "raw"), ("true", "resolved")):
        low, high = paired_interval(mean[one] - mean[other])
        facts = {"low": round(low, 5), "high": round(high, 5)}
        report.add(f"{name}/{one}-above-{other}", f"hr@{K}", float((mean[one] - mean[other]).mean()), settings=facts)
    lost = float((mean["true"] - mean["raw"]).mean())
    won = float((mean["resolved"] - mean["raw"]).mean())
    report.add(f"{name}/resolved", "share won back", won / lost if lost else 0.0, n=seeds)
    report.finish(options.out)


def read(name: str, data_root: Path | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Films (item_id, title, genres) and interactions (user_id, item_id, timestamp)."""
    if name == "generated":
        found = sources.load("generated", interactions=2000)
        items = found.items.select("item_id", "title", genres="category")
    else:
        found = sources.load("ml-1m", data_root / "ml-1m")
        title = pl.format("{} ({})", "title", "year")
        items = found.items.select("item_id", title.alias("title"), pl.col("genres").cast(pl.String))
    return items, found.interactions.select("user_id", "item_id", "timestamp")


def two_feeds(films: pl.DataFrame, seed: int = 0) -> tuple[dict[str, Records], dict[str, dict[Any, str]]]:
    """Both feeds' records, and of each feed what it calls each film."""
    random = np.random.default_rng(seed)
    tables, names = {}, {}
    for n, feed in enumerate(FEEDS):
        ids = [f"{feed}{number}" for number in random.choice(10 * films.height, films.height, replace=False)]
        names[feed] = dict(zip(films["item_id"].to_list(), ids, strict=True))
        told = [(_told(title, n, random), _some(genres, random)) for title, genres in films.drop("item_id").iter_rows()]
        frame = pl.DataFrame(told, schema=["title", "genres"], orient="row").with_columns(id=pl.Series(ids))
        tables[feed] = Records.of(feed, frame)
    return tables, names


def found_entities(tables: dict[str, Records]) -> tuple[Any, dict[str, Any]]:
    """The map, without a label, and how right it is."""
    entities = resolve(tables, ResolveConfig(one_to_one=True)).resolved.entities
    left, right = (tables[feed] for feed in FEEDS)
    rows = np.arange(len(left))  # both tables are in the order of the films
    same = RecordPairs(left, right, rows, rows, np.ones(len(left), bool))
    said = against_labels(entities, same, *FEEDS)
    hits, called = said["called"], said["called"] + said["unlabelled"]
    figures = {"f1": 2 * hits / (called + len(left)), "precision": hits / max(called, 1), "recall": hits / len(left)}
    return entities, figures


def measure(data_root: Path | None, runs: Path | None, name: str, arm: str, seed: int) -> dict[str, Any]:
    """The rank of each user's last film."""
    return remembered(runs, [name, arm, seed], lambda: _measured(data_root, name, arm, seed))


def _measured(data_root: Path | None, name: str, arm: str, seed: int) -> dict[str, Any]:
    films, log = read(name, data_root)
    dataset, film_of = _arm(films, log, arm, name)
    prepared = Prepared.of(dataset, make_split("leave-one-out", dataset))
    targets, seen_films = _events(films, log, prepared)
    settings = ["model.dim=16", "optimiser.max_epochs=1"] if name == "generated" else []
    with tempfile.TemporaryDirectory() as folder:
        model = fit(load_config(settings=settings, seed=seed), prepared, Path(folder), progress=False).model
    evaluation = Evaluation(prepared, "test")
    users = user_vectors(model, evaluation)  # (B, D)
    items = encode_catalogue(model, prepared.item_table).numpy()
    of = np.array([film_of[one] for one in prepared.items.ids.to_list()])  # of each item its film. (N,)
    order = np.argsort(of, kind="stable")
    different, first = np.unique(of[order], return_index=True)
    ranks = []
    for place, user in enumerate(evaluation.users.tolist()):
        scores = np.maximum.reduceat((items @ users[place])[order], first)  # (films,)
        target = int(targets[user])
        scores[np.isin(different, seen_films.row(user)) & (different != target)] = -np.inf
        at = np.searchsorted(different, target)
        there = at < len(different) and different[at] == target  # a film that no item is cannot be found
        ranks.append(int((scores > scores[at]).sum()) if there else len(different))
    return {"ranks": ranks}


def _events(films: pl.DataFrame, log: pl.DataFrame, prepared: Prepared) -> tuple[np.ndarray, JaggedArray]:
    """The film that each user's test event is of, -1 where there is none, and those of the others: from the log itself.

    Whatever an arm's items are, its events are those of the log, line by line.
    """
    number = {film: n for n, film in enumerate(films["item_id"].to_list())}
    film = np.array([number[one] for one in log["item_id"].to_list()])
    user = prepared.users.rows(log["user_id"])
    test = prepared.split.parts == TEST
    targets = np.full(len(prepared.users), -1)
    targets[user[test]] = film[test]
    order = np.argsort(user[~test], kind="stable")
    counts = np.bincount(user[~test], minlength=len(prepared.users))
    return targets, JaggedArray(film[~test][order], np.concatenate([[0], np.cumsum(counts)]))


def _arm(films: pl.DataFrame, log: pl.DataFrame, arm: str, name: str) -> tuple[Dataset, dict[Any, int]]:
    """The data of one arm, and the film that each of its items is."""
    tables, names = two_feeds(films)
    random = np.random.default_rng(1)
    feed = random.integers(0, 2, log.height)
    calls = [names[FEEDS[which]][film] for which, film in zip(feed.tolist(), log["item_id"].to_list(), strict=True)]
    number = {film: n for n, film in enumerate(films["item_id"].to_list())}
    film_of = {call: number[film] for feed_names in names.values() for film, call in feed_names.items()}
    schema = FeatureSchema(user=(Sequence("history"),), item=(Id("item_id"),))
    if arm == "true":
        return Dataset.construct(name, log, films.select("item_id"), schema=schema), number
    items = pl.DataFrame({"item_id": [call for table in tables.values() for call in table.ids.to_list()]})
    raw = Dataset.construct(name, log.with_columns(item_id=pl.Series(calls)), items, schema=schema)
    if arm == "raw":
        return raw, film_of
    entities = found_entities(tables)[0]
    members = entities.members.with_columns(
        film=pl.Series([film_of[call] for call in entities.members["record_id"].to_list()])
    )
    most = members.group_by("entity_id").agg(pl.col("film").mode().min())
    # of the same user's events none is left out, so that all arms are asked for the same
    resolved = through_entities(raw, entities)
    assert resolved.interactions.height == raw.interactions.height
    return dataclasses.replace(resolved, schema=schema), dict(most.iter_rows())


def _told(title: str, feed: int, random: np.random.Generator) -> str:
    """A title as a feed tells it."""
    name, _, year = title.rpartition(" (")
    name, year = (name, year.rstrip(")")) if name else (title, "")
    for article in (", The", ", A", ", An"):
        if name.endswith(article) and feed:
            name = f"{article[2:]} {name.removesuffix(article)}"
    for _ in range(int(random.integers(0, 3))):
        at, kind = int(random.integers(len(name))), int(random.integers(3))
        name = name[:at] + ("" if kind == 0 else str(random.choice(_LETTERS))) + name[at + (kind != 1) :]
    if feed:
        name = name.upper() if random.random() < 0.3 else name
        return f"{name} {year}".strip() if random.random() < 0.6 else name
    return f"{name} ({year})" if year and random.random() < 0.8 else name


def _some(genres: str, random: np.random.Generator) -> str:
    """Some of the genres, in another order."""
    told = [one for one in genres.split("|") if random.random() < 0.7]
    random.shuffle(told)
    return ", ".join(told)


if __name__ == "__main__":
    main()
