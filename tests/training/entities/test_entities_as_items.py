"""From two feeds to one item space: trained on entities, and served to whoever names a retired id or a feed's own."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from fastapi.testclient import TestClient

from features.entity_map import EntityMap
from features.entity_store import write_entities
from features.errors import InputError
from features.resolved_entities import PAIRS, ResolvedEntities
from recsys.entities.stable_ids import updated
from serving.bundles.bundle import Bundle
from serving.candidates import CandidateGenerator
from serving.http.app import create_app
from training.bundle_evaluation import served_lists
from training.cli import main
from training.config import load_config
from training.data import load, prepare
from training.evaluation import Evaluation
from training.runs import RunOptions, run

#: things; each is told of by both feeds
THINGS = 24


@pytest.fixture(scope="module")
def feeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop whose interactions name records of two feeds, and entities of which half were merged later."""
    folder = tmp_path_factory.mktemp("feeds")
    random = np.random.default_rng(0)
    log = [
        (user, f"{random.choice(['a', 'b'])}:{(user * 5 + step * 3) % THINGS}", step)
        for user in range(40)
        for step in range(9)
    ]
    (folder / "shop").mkdir()
    pl.DataFrame(log, schema=["user_id", "item_id", "timestamp"], orient="row").write_csv(
        folder / "shop" / "interactions.csv"
    )
    items = pl.DataFrame({"item_id": [f"{feed}:{n}" for feed in "ab" for n in range(THINGS)]})
    items.with_columns(title="item_id").write_csv(folder / "shop" / "items.csv")
    told = {"source": ["a"] * THINGS + ["b"] * THINGS, "record_id": [str(n) for n in range(THINGS)] * 2}
    apart = [n if n < THINGS else (n - THINGS if n % 2 else n) for n in range(2 * THINGS)]
    first = updated(EntityMap(), pl.DataFrame({**told, "cluster": apart}))
    entities = updated(first, pl.DataFrame({**told, "cluster": [n % THINGS for n in range(2 * THINGS)]}))
    assert entities.redirects.height == THINGS // 2
    for one in (first, entities):
        records = one.members.select(
            pl.col("source").alias("$source"), pl.col("record_id").alias("$record_id"), title=pl.lit("")
        )
        write_entities(folder / "entities", ResolvedEntities(one, records, pl.DataFrame(schema=PAIRS), {}))
    return folder


@pytest.fixture(scope="module")
def bundle(feeds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = ["model.dim=8", "model.embeddings.width=8", "optimiser.max_epochs=1", "optimiser.backend=torch"]
    settings.append(f"data.entities.folder={feeds / 'entities'}")
    config = load_config(settings=settings, data__name="tables", data__root=str(feeds / "shop"))
    return run(config, RunOptions(folder=tmp_path_factory.mktemp("run"), track=False)).bundle


def test_items_are_entities(feeds: Path) -> None:
    settings = [f"data.entities.folder={feeds / 'entities'}", "data.entities.fuse.title=longest"]
    config = load_config(settings=settings, data__name="tables", data__root=str(feeds / "shop"))
    dataset = load(config.data)
    assert dataset.items.height == THINGS and dataset.interactions["item_id"].dtype == pl.Int64
    assert dataset.entity_map.startswith("version 2, ")


def test_the_bundle_carries_the_map(bundle: Path, feeds: Path) -> None:
    found = Bundle.load(bundle)
    assert found.manifest.entity_map.startswith("version 2, ") and len(found.items) == THINGS
    aliases = found.aliases
    assert aliases.height == THINGS // 2 + 2 * THINGS


def test_retired_ids_and_feeds_names_are_answered(bundle: Path, feeds: Path) -> None:
    aliases = dict(Bundle.load(bundle).aliases.select("alias", "item_id").iter_rows())
    with TestClient(create_app(str(bundle))) as client:

        def listed(history: list) -> list[str]:
            body = {"histories": [history], "k": THINGS}
            (one,) = client.post("/candidates", json=body).json()["candidates"]
            assert one["source"] == "history" and one["unknown_history_items"] == 0
            return one["item_ids"]

        for alias, now in list(aliases.items())[:: len(aliases) // 12]:
            assert listed([alias]) == listed([str(now)]) == listed([now])
            assert str(now) not in listed([alias])  # what is named otherwise is seen all the same
        retired = [one for one in aliases if one.isdecimal()]
        assert len(retired) == THINGS // 2 and listed([int(retired[0])]) == listed([aliases[retired[0]]])
        similar = client.post("/similar", json={"item_ids": ["b:3"], "k": 3}).json()
        own = client.post("/similar", json={"item_ids": [str(aliases["b:3"])], "k": 3}).json()
        assert similar["similar"][0]["item_ids"] == own["similar"][0]["item_ids"]
        (stranger,) = client.post("/candidates", json={"histories": [["c:3"]], "k": 3}).json()["candidates"]
        assert stranger["unknown_history_items"] == 1


def test_answers_name_what_a_feed_calls_its_items(bundle: Path) -> None:
    generator = CandidateGenerator.load(bundle)
    own = {alias: item for alias, item in generator.bundle.aliases.select("alias", "item_id").iter_rows()}
    with TestClient(create_app(str(bundle))) as client:
        asked = {"histories": [["a:1", "b:4"], None], "user_ids": [None, "nobody"], "k": 5}
        plain = client.post("/candidates", json=asked).json()["candidates"]
        named = client.post("/candidates", json=asked | {"ids_of": "b"}).json()["candidates"]
        for one, other in zip(plain, named, strict=True):
            assert "feed_ids" not in one and one == {name: v for name, v in other.items() if name != "feed_ids"}
            assert [[str(own[f"b:{mine}"])] * len(ids) for ids in other["feed_ids"] for mine in ids] == [
                [one] for one in other["item_ids"]
            ]
        similar = client.post("/similar", json={"item_ids": ["b:3"], "k": 3, "ids_of": "a"}).json()["similar"][0]
        assert [str(own[f"a:{ids[0]}"]) for ids in similar["feed_ids"]] == similar["item_ids"]
        refused = client.post("/candidates", json=asked | {"ids_of": "c"})
        (problem,) = refused.json()["detail"]
        assert refused.status_code == 422 and problem["loc"] == ["body", "ids_of"]
        assert problem["msg"] == "the entity map of this model has no source 'c'; it has a, b"
    retired = next(one for one in own if one.isdecimal())
    assert generator.item_ids.of_feed([retired], "a") == generator.item_ids.of_feed([own[retired]], "a") != [[]]
    assert generator.item_ids.of_feed([10**9, "new"], "a") == [[], []]
    with pytest.raises(InputError, match="the items of this model are no entities of feeds"):
        generator.user_ids.of_feed([1], "a")


def test_training_says_through_which_map_it_reads(
    feeds: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shop = feeds / "shop" / "items.csv"
    before = shop.read_text()
    shop.write_text(before + "c:1,strange\n")
    told = ["train", "two-tower", "--data", "tables", "--root", str(feeds / "shop"), "--no-mlflow", "--json"]
    for one in ("model.dim=8", "model.embeddings.width=8", "optimiser.max_epochs=1", "optimiser.backend=torch"):
        told += ["--set", one]
    told += ["--set", f"data.entities.folder={feeds / 'entities'}", "--set", "data.entities.unknown=drop"]
    try:
        assert main(told) == 0
    finally:
        shop.write_text(before)
    said = capsys.readouterr()
    assert f"entity map version 2: {2 * THINGS + 1} items are {THINGS} entities, and 360 interactions" in said.err
    assert "dropped before: 1 items that it lacks, and 0 interactions with them" in said.err
    figures = json.loads(said.out.splitlines()[-1])["entities"]
    assert (figures["version"], figures["items"], figures["entities"]) == (2, 2 * THINGS + 1, THINGS)
    assert figures["unknown_items"] == 1
    assert main([*told, "--set", "data.entities.unknown=keep"]) == 2
    assert "data.entities.unknown" in capsys.readouterr().err


def test_what_is_not_resolved_is_named(feeds: Path, capsys: pytest.CaptureFixture) -> None:
    shop = feeds / "shop" / "items.csv"
    before = shop.read_text()
    shop.write_text(before + "c:1,strange\n")
    told = ["data", "--data", "tables", "--root", str(feeds / "shop"), "--set"]
    assert main([*told, f"data.entities.folder={feeds / 'entities'}"]) == 2
    assert "1 items of shop are no records of the entity map, such as 'c:1'" in capsys.readouterr().err
    shop.write_text(before)
    assert main([*told, "data.entities.folder=nowhere"]) == 2
    assert "nowhere holds no entities" in capsys.readouterr().err


def test_a_run_writes_down_which_map_it_read(bundle: Path) -> None:
    settings = yaml.safe_load((bundle.parent / "config.yaml").read_text())
    assert settings["data"]["entities"]["version"] == 2


def test_a_bundle_of_before_a_merge_is_measured_by_what_its_items_became(feeds: Path, tmp_path: Path) -> None:
    """Its lists name both halves of an entity: the first one counts, and there are no gaps."""
    settings = ["model.dim=8", "model.embeddings.width=8", "optimiser.max_epochs=1", "optimiser.backend=torch"]
    settings.append(f"data.entities.folder={feeds / 'entities'}")
    of = {"data__name": "tables", "data__root": str(feeds / "shop")}
    old = run(load_config(settings=[*settings, "data.entities.version=1"], **of), RunOptions(tmp_path, track=False))
    generator = CandidateGenerator.load(old.bundle)
    assert len(generator.bundle.items) == THINGS + THINGS // 2
    prepared = prepare(load_config(settings=settings, **of))
    evaluation = Evaluation(prepared, "test")
    lists = served_lists(generator, evaluation, evaluation.users, k=20).tolist()
    histories = [prepared.items.ids_of(evaluation.histories.row(row)).to_list() for row in evaluation.users]
    users = prepared.users.ids_of(evaluation.users).to_list()
    served = generator.recommend(users, histories, k=20, exclude_seen=evaluation.seen is not None)
    now = dict(prepared.dataset.aliases.select("alias", "item_id").iter_rows())
    for found, ids in zip(lists, served.item_ids, strict=True):
        expected = list(dict.fromkeys(now.get(str(one), one) for one in ids))
        rows = [one for one in found if one >= 0]
        assert len(rows) == len(set(rows)) and found == rows + [-1] * (20 - len(rows))
        assert prepared.items.ids_of(np.array(rows)).to_list() == expected
