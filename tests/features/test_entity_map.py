"""A map of entities: looked up by record, by id, and through a data set; kept in versions."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from features.dataset import Dataset
from features.entity_items import through_entities
from features.entity_map import EntityMap
from features.entity_store import read_entities, write_entities, writing
from features.errors import InputError
from features.resolved_entities import PAIRS, ResolvedEntities
from recsys.entities.stable_ids import updated

#: what a store calls them
KEYS = [pl.col("source").alias("$source"), pl.col("record_id").alias("$record_id")]


@pytest.fixture
def entities() -> EntityMap:
    """Five records of two shops, "3" in both, are three entities; one was retired."""
    told = {"source": ["a", "a", "a", "b", "b"], "record_id": ["1", "2", "3", "x", "3"]}
    first = updated(EntityMap(), pl.DataFrame({**told, "cluster": [0, 1, 2, 3, 4]}))
    return updated(first, pl.DataFrame({**told, "cluster": [0, 1, 2, 0, 1]}))


def test_records_are_looked_up(entities: EntityMap) -> None:
    assert entities.entities(pl.Series(["1", "x", "?"])).to_list() == [1, 1, None]
    assert entities.entities(pl.Series([3, 3]), pl.Series(["a", "b"])).to_list() == [3, 2]
    assert entities.entities(pl.Series([3]), "a").to_list() == [3]
    with pytest.raises(InputError, match="the id '3' means different things in different sources"):
        entities.entities(pl.Series(["3"]))
    with pytest.raises(InputError, match="has no source 'c'; it has a, b"):
        entities.entities(pl.Series(["3"]), "c")
    assert repr(entities) == "EntityMap(version 2: 5 records of 2 sources are 3 entities)"


def test_names_are_those_that_mean_one_thing(entities: EntityMap) -> None:
    named = dict(entities.named().select("alias", "entity_id").iter_rows())
    assert named == {"a:1": 1, "a:2": 2, "a:3": 3, "b:x": 1, "b:3": 2, "1": 1, "2": 2, "x": 1}
    assert dict(entities.retired().iter_rows()) == {"4": 2, "5": 1}


def test_entities_are_named_as_feeds_name_them(entities: EntityMap) -> None:
    assert entities.records([1, 5, 2]).rows() == [
        (1, 1, "a", "1"),
        (1, 1, "b", "x"),
        (5, 1, "a", "1"),  # retired: what has taken its place
        (5, 1, "b", "x"),
        (2, 2, "a", "2"),
        (2, 2, "b", "3"),
    ]
    assert entities.records([2, 77, 3], "b").rows() == [(2, 2, "b", "3")]
    with pytest.raises(InputError, match="has no source 'c'; it has a, b"):
        entities.records([2], "c")


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (5, "ids of entities are a list or a polars Series, and 5 is a single int"),
        ("5", "ids of entities are a list or a polars Series, and '5' is a single str"),
        (["5"], "ids of entities are whole numbers, and these are String, such as '5'"),
        ([1.5], "ids of entities are whole numbers, and these are Float64, such as 1.5"),
    ],
)
def test_what_is_no_list_of_ids_is_named(entities: EntityMap, asked: object, named: str) -> None:
    with pytest.raises(InputError, match=named):
        entities.current(asked)


def test_ids_of_records_are_a_list(entities: EntityMap) -> None:
    assert entities.entities(["1", "x"]).to_list() == entities.entities(["1", "x"], None).to_list() == [1, 1]
    with pytest.raises(InputError, match="ids of records are a list or a polars Series, and 'x' is a single str"):
        entities.entities("x")


def test_what_is_gone_is_kept_and_folders_of_before_have_none(entities: EntityMap, tmp_path: Path) -> None:
    left = updated(entities, entities.members.filter(pl.col("record_id") != "3").rename({"entity_id": "cluster"}))
    where = write_entities(
        tmp_path / "map", ResolvedEntities(left, left.members.select(*KEYS), pl.DataFrame(schema=PAIRS))
    )
    assert read_entities(tmp_path / "map").entities.departed.rows() == [("a", "3", 3), ("b", "3", 2)]
    manifest = json.loads((where / "manifest.json").read_text())
    del manifest["sha256"]["departed"]
    (where / "manifest.json").write_text(json.dumps(manifest))
    (where / "departed.parquet").unlink()
    assert not read_entities(tmp_path / "map").entities.departed.height


def dataset() -> Dataset:
    log = pl.DataFrame(
        {
            "user_id": [7, 7, 7, 8, 8],
            "item_id": ["a:1", "b:x", "a:2", "b:3", "a:3"],
            "timestamp": [1, 1, 2, 3, 4],
            "stars": [5, 4, 3, 2, 1],
        }
    )
    items = pl.DataFrame(
        {
            "item_id": ["a:1", "a:2", "a:3", "b:x", "b:3"],
            "title": [None, "Ink", "Cup", "Rose soap", "Blue ink"],
            "price": [2, 4, 6, 4, 6],
            "tags": [["soap"], [], ["cup"], ["rose", "soap"], None],
        }
    )
    return Dataset.construct("two shops", log, items)


def test_entities_are_the_items(entities: EntityMap) -> None:
    found = through_entities(dataset(), entities)
    assert found.interactions.rows() == [(7, 1, 1, 5), (7, 2, 2, 3), (8, 2, 3, 2), (8, 3, 4, 1)]
    assert found.items.rows() == [
        (1, "Rose soap", 2, ["soap", "rose"]),
        (2, "Ink", 4, []),
        (3, "Cup", 6, ["cup"]),
    ]
    assert found.entity_map == f"version 2, {entities.sha256[:16]}"
    aliases = dict(found.aliases.select("alias", "item_id").iter_rows())
    assert aliases["4"] == 2 and aliases["b:x"] == 1
    assert "1" not in aliases  # of a record, and of an entity, too


def test_attributes_are_fused_by_rules(entities: EntityMap) -> None:
    rules = {"title": "longest", "price": "mean"}
    found = through_entities(dataset(), entities, rules)
    assert found.items.select("title", "price").rows() == [("Rose soap", 3.0), ("Blue ink", 5.0), ("Cup", 6.0)]
    other = through_entities(dataset(), entities, sources=["b", "a"])
    assert other.items["title"].to_list() == ["Rose soap", "Blue ink", "Cup"]
    for fuse, message in (
        ({"colour": "first"}, "a rule is given for 'colour', and the items have title, price, tags"),
        ({"price": "magic"}, "the rule for 'price' is 'magic', not one of first"),
        ({"tags": "longest"}, "the rule for 'tags' is 'longest', and it holds List"),
        ({"price": "longest"}, "the rule for 'price' is 'longest', and it holds Int64"),
        ({"title": "mean"}, "the items cannot be fused so"),
    ):
        with pytest.raises(InputError, match=message):
            through_entities(dataset(), entities, fuse)
    with pytest.raises(InputError, match="has no source 'c'"):
        through_entities(dataset(), entities, sources=["c"])


def test_items_that_nobody_has_resolved_are_named(entities: EntityMap) -> None:
    log = pl.DataFrame({"user_id": [1], "item_id": ["new"], "timestamp": [1]})
    with pytest.raises(InputError, match="1 items of strange are no records of the entity map, such as 'new'"):
        through_entities(Dataset.construct("strange", log), entities)
    with pytest.raises(InputError, match="no interaction is left without them: this map is of other items"):
        through_entities(Dataset.construct("strange", log), entities, unknown="drop")


def test_unknown_items_are_dropped_and_counted_where_that_is_asked(entities: EntityMap) -> None:
    whole = dataset()
    log = pl.concat([whole.interactions, whole.interactions[:2].with_columns(item_id=pl.Series(["new", "newer"]))])
    data = Dataset.construct("shop", log, whole.items, schema=whole.schema)
    found = through_entities(data, entities, unknown="drop")
    same = through_entities(whole, entities, unknown="drop")
    assert found.items.equals(same.items) and found.interactions.equals(same.interactions)
    assert (found.entities.unknown_items, found.entities.unknown_interactions) == (2, 2)
    assert (same.entities.unknown_items, same.entities.items, same.entities.entities) == (0, whole.items.height, 3)
    assert "dropped before: 2 items that it lacks, and 2 interactions with them" in str(found.entities)
    assert str(same.entities).startswith("entity map version 2: 5 items are 3 entities, and 5 interactions ")


def resolved(entities: EntityMap) -> ResolvedEntities:
    records = entities.members.select(KEYS).with_columns(title=pl.lit("x"))
    return ResolvedEntities(entities, records, pl.DataFrame(schema=PAIRS), {"judge": {"kind": "none"}})


def test_a_store_gives_back_what_it_was_given(entities: EntityMap, tmp_path: Path) -> None:
    write_entities(tmp_path / "store", resolved(entities))
    found = read_entities(tmp_path / "store")
    assert found.entities.sha256 == entities.sha256 and found.entities.next_id == 6 and found.attributes == ["title"]
    assert found.entities.log.equals(entities.log) and found.settings == {"judge": {"kind": "none"}}
    for _ in range(5):
        write_entities(tmp_path / "store", resolved(entities), keep=2)
    assert len([one for one in (tmp_path / "store").iterdir() if one.is_dir()]) == 2


def test_damage_is_named(entities: EntityMap, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    where = write_entities(folder, resolved(entities))
    entities.members.head(2).write_parquet(where / "members.parquet")
    with pytest.raises(InputError, match=r"members.parquet is not what .* says that it is"):
        read_entities(folder)
    (where / "manifest.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(InputError, match=r"manifest.json cannot be read"):
        read_entities(folder)
    (folder / "current").write_text("../elsewhere")
    with pytest.raises(InputError, match="which is no version"):
        read_entities(folder)
    with pytest.raises(InputError, match="holds no entities"):
        read_entities(tmp_path)
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="exists and holds no entities; it is not written into"):
        write_entities(tmp_path, resolved(entities))


_WRITER = """
import sys
import polars as pl
from features.entity_map import EntityMap
from features.entity_store import read_entities, write_entities
from features.resolved_entities import PAIRS, ResolvedEntities
from recsys.entities.stable_ids import updated
names = [f"{n:05d}" for n in range(3000)]
entities = read_entities(sys.argv[1]).entities
print("ready", flush=True)
for n in range(1, 10_000):
    told = {"source": ["s"] * 3000, "record_id": names, "cluster": [place // (n % 7 + 1) for place in range(3000)]}
    entities = updated(entities, pl.DataFrame(told))
    records = entities.members.select(pl.col("source").alias("$source"), pl.col("record_id").alias("$record_id"))
    write_entities(sys.argv[1], ResolvedEntities(entities, records, pl.DataFrame(schema=PAIRS), {}))
"""


def test_a_killed_writer_leaves_the_old_map_or_the_new(entities: EntityMap, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    write_entities(folder, resolved(entities))
    seen = set()
    for wait in (0.0, 0.05, 0.13, 0.21):
        command = [sys.executable, "-c", _WRITER, str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            writer.stdout.readline()
            time.sleep(wait)
            writer.send_signal(signal.SIGKILL)
        found = read_entities(folder).entities  # every hash is checked
        seen.add(found.version)
        assert found.members["entity_id"].max() < found.next_id
    assert max(seen) > 2
    write_entities(folder, read_entities(folder))
    assert not list(folder.glob(".v*.part"))  # what the killed ones have left is gone


def test_what_others_have_put_there_stays(entities: EntityMap, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    write_entities(folder, resolved(entities))
    (folder / "venv").mkdir()
    (folder / "views").mkdir()
    for _ in range(5):
        write_entities(folder, resolved(entities), keep=1)
    assert (folder / "venv").is_dir() and (folder / "views").is_dir()
    (tmp_path / "mine" / "v2").mkdir(parents=True)  # no version of ours
    with pytest.raises(InputError, match="exists and holds no entities"):
        write_entities(tmp_path / "mine", resolved(entities))


def test_one_writes_at_a_time(entities: EntityMap, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with writing(folder):
        with pytest.raises(InputError, match="somebody else is resolving into"), writing(folder):
            pass
        write_entities(folder, resolved(entities))
    with writing(folder):
        pass
    with pytest.raises(InputError, match="has a newer version than the one that was changed"):
        write_entities(folder, resolved(EntityMap()))
    with pytest.raises(ZeroDivisionError), writing(tmp_path / "never"):
        raise ZeroDivisionError
    assert not (tmp_path / "never").exists()


def test_an_earlier_version_is_read(entities: EntityMap, tmp_path: Path) -> None:
    first = updated(EntityMap(), entities.members.select("source", "record_id").with_columns(cluster=pl.int_range(5)))
    write_entities(tmp_path / "store", resolved(first))
    write_entities(tmp_path / "store", resolved(entities))
    assert read_entities(tmp_path / "store").entities.version == 2
    assert len(read_entities(tmp_path / "store", 1).entities) == 5
    with pytest.raises(InputError, match="has no version 7 any more; it has v1, v2"):
        read_entities(tmp_path / "store", 7)


def test_columns_may_be_called_as_the_map_calls_its_own(entities: EntityMap) -> None:
    log = pl.DataFrame({"user_id": [1], "item_id": ["a:1"], "timestamp": [1], "source": ["app"], "entity_id": [9]})
    items = pl.DataFrame({"item_id": ["a:1", "b:x"], "source": ["x", "y"], "record_id": [3, 4], "alias": ["p", "q"]})
    found = through_entities(Dataset.construct("shop", log, items), entities)
    assert found.interactions.rows() == [(1, 1, 1, "app", 9)] and found.items.rows() == [(1, "x", 3, "p")]


def test_vectors_are_not_taken_apart(entities: EntityMap) -> None:
    log = pl.DataFrame({"user_id": [1], "item_id": ["a:1"], "timestamp": [1]})
    items = pl.DataFrame({"item_id": ["a:1", "b:x"], "vector": [[0.1, 0.2, 0.1], [0.3, 0.4, 0.5]]})
    found = through_entities(Dataset.construct("shop", log, items), entities)
    assert found.items["vector"].to_list() == [[0.1, 0.2, 0.1]]
