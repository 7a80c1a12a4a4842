"""From tables to entities: at once, in instalments, with a matcher or none; found again over HTTP."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient

from features.entity_map import EntityMap
from features.entity_store import read_entities, write_entities
from features.errors import InputError
from features.record_pairs import RecordPairs
from features.records import Records
from recsys.blocking.blocker import BlockingConfig
from recsys.entities.agreement import against_labels, pairwise
from recsys.entities.stable_ids import updated
from serving.entities.app import create_entity_app
from serving.entities.finder import EntityFinder
from serving.entities.judges import Judged, Stage
from training.cli import main
from training.entities.config import CascadeConfig, ResolveConfig
from training.entities.resolve import resolve

WORDS = ["rose", "soap", "lamp", "chair", "ink", "pen", "cup", "oil", "tea", "jar", "map", "bag"]


def feeds(n: int = 120, seed: int = 0) -> tuple[dict[str, Records], np.ndarray]:
    """Three shops that tell of the same things in their own words; the true thing of each record by source and id."""
    random = np.random.default_rng(seed)
    things = [f"{' '.join(random.choice(WORDS, 2))} {random.choice(list('xyz'))}{1000 + 37 * k}" for k in range(n)]
    tables, true = {}, []
    for name in "abc":
        some = np.sort(random.choice(n, n * 2 // 3, replace=False))
        told = [f"{things[k]} {name}" if k % 2 else " ".join(reversed(things[k].split())) for k in some]
        tables[name] = Records.of(name, pl.DataFrame({"id": [f"{name}{k}" for k in some], "title": told}))
        true += [(name, f"{name}{k}", int(k)) for k in some]
    frame = pl.DataFrame(true, schema=["source", "record_id", "thing"], orient="row").sort("source", "record_id")
    return tables, frame["thing"].to_numpy()


class CodeJudge:
    """A code in the title says which thing it is; wrong for a share of the pairs, always the same ones."""

    lasting = True

    def __init__(self, wrong: float = 0.1) -> None:
        self._wrong, self.settings = wrong, {"kind": "codes"}

    def judge(self, pairs: RecordPairs, progress=lambda done, total: None) -> Judged:
        codes = pairs.left.values["title"].str.extract(r"([xyz]\d{4,})").fill_null("").to_numpy()
        same = codes[pairs.left_rows] == codes[pairs.right_rows]
        noise = np.array([hash_of(a, b) for a, b in zip(codes[pairs.left_rows], codes[pairs.right_rows], strict=True)])
        log_odds = np.where(same, 2.0, -2.0) * np.where(noise < self._wrong, -0.3, 1) + noise
        return Judged(log_odds, (Stage("codes", len(pairs), int((log_odds >= 0).sum()), 0.0),))


def hash_of(one: str, other: str) -> float:
    """A number in [0, 1) that depends on both, whichever comes first."""
    low, high = sorted((one, other))
    return (sum(ord(c) * 7**n for n, c in enumerate(f"{low} {high}")) % 997) / 997


def partition(resolved) -> np.ndarray:
    return resolved.entities.members["entity_id"].to_numpy()


def test_things_are_found_without_a_matcher() -> None:
    tables, true = feeds()
    found = resolve(tables)
    assert pairwise(partition(found.resolved), true)["f1"] > 0.85
    assert 0 < found.figures["estimated"]["precision"] <= 1
    assert found.figures["records"] == len(true) and found.figures["events"] == {"new": found.figures["entities"]}


@pytest.mark.parametrize("kind", ["components", "centre", "correlation"])
def test_instalments_come_to_the_same(kind: str) -> None:
    """All candidates are found in any order of arrival, since there are few records."""
    tables, _ = feeds(40)
    config = ResolveConfig(blocking=BlockingConfig(candidates=200), clusters=kind)
    whole = resolve(tables, config, CodeJudge()).resolved
    so_far, random = None, np.random.default_rng(1)
    parts = {name: np.array_split(random.permutation(len(one)), 10) for name, one in tables.items()}
    seen: set[int] = set()
    for n in range(10):
        now = {name: one.take(np.sort(parts[name][n])) for name, one in tables.items()}
        so_far = resolve(now, config, CodeJudge(), before=so_far).resolved
        for name in seen:  # an id that was given once never comes to mean nothing
            assert so_far.entities.current(pl.Series([name]))[0] is not None
        seen |= set(partition(so_far).tolist())
    assert pairwise(partition(so_far), partition(whole))["f1"] == 1.0
    assert so_far.pairs.drop("log_odds").equals(whole.pairs.drop("log_odds"))


def test_records_that_change_are_judged_anew() -> None:
    tables, _ = feeds(40)
    first = resolve(tables, judge=CodeJudge(wrong=0)).resolved
    changed = tables["a"].values.with_columns(pl.lit("something else entirely").alias("title"))
    again = resolve({"a": Records("a", tables["a"].ids, changed)}, judge=CodeJudge(wrong=0), before=first)
    assert again.figures["changed_records"] == len(tables["a"]) and again.figures["new_records"] == 0
    mine = again.resolved.entities.members.filter(pl.col("source") == "a")["entity_id"]
    others = again.resolved.entities.members.filter(pl.col("source") != "a")["entity_id"]
    assert not set(mine) & set(others)
    nothing = resolve(
        tables | {"a": Records("a", tables["a"].ids, changed)}, judge=CodeJudge(wrong=0), before=again.resolved
    )
    assert nothing.figures["new_records"] == 0 and nothing.resolved.entities is again.resolved.entities


def test_one_to_one_leaves_no_record_two_partners() -> None:
    tables, _ = feeds()
    found = resolve({name: tables[name] for name in "ab"}, ResolveConfig(one_to_one=True))
    counts = found.resolved.entities.members.group_by("entity_id", "source").len()["len"]
    assert counts.max() == 1


def test_one_to_one_of_three_sources_holds() -> None:
    tables, true = feeds()
    found = resolve(tables, ResolveConfig(one_to_one=True)).resolved
    assert found.entities.members.group_by("entity_id", "source").len()["len"].max() == 1
    assert pairwise(partition(found), true)["f1"] > 0.9
    with pytest.raises(InputError, match="one_to_one is between sources, and there is one"):
        resolve({"a": tables["a"]}, ResolveConfig(one_to_one=True))


def test_records_that_say_the_very_same_are_one(capsys: pytest.CaptureFixture) -> None:
    rows = ["rose soap x1037"] * 60 + ["blue lamp y2074"] * 3 + [f"{word} {k}" for k, word in enumerate(WORDS)]
    table = Records.of("a", pl.DataFrame({"id": range(len(rows)), "title": rows}))
    members = resolve({"a": table}, judge=CodeJudge(wrong=0)).resolved.entities.members
    sizes = members.group_by("entity_id").len()["len"].sort(descending=True).to_list()
    assert sizes[:2] == [60, 3]


def test_other_rules_are_refused_unless_asked_for() -> None:
    tables, _ = feeds(40)
    first = resolve({"a": tables["a"]}).resolved
    assert first.settings["config"]["duplicates"]
    with pytest.raises(InputError, match="duplicates was True when these entities were resolved, and is False now"):
        resolve({"b": tables["b"]}, before=first)
    with pytest.raises(
        InputError, match="were judged by the data by themselves, and now it would be a judge of the kind 'codes'"
    ):
        resolve({"a": tables["a"]}, judge=CodeJudge(), before=first)
    kept = resolve({"b": tables["b"]}, ResolveConfig(duplicates=True), before=first)
    assert kept.figures["new_records"] == len(tables["b"])
    anew = resolve({"b": tables["b"]}, judge=CodeJudge(), before=first, anew=True)
    assert anew.figures["candidates"] > 0 and anew.resolved.settings["judge"]["kind"] == "codes"


def test_a_source_is_replaced_by_what_is_told_now() -> None:
    tables, _ = feeds(40)
    first = resolve(tables, judge=CodeJudge(wrong=0)).resolved
    fewer = tables["a"].take(np.arange(5))
    stay = resolve({"a": fewer}, judge=CodeJudge(wrong=0), before=first).resolved
    assert stay.entities is first.entities
    gone = resolve({"a": fewer}, judge=CodeJudge(wrong=0), before=first, replaced=["a"]).resolved
    assert gone.entities.members.filter(pl.col("source") == "a").height == 5
    only = first.entities.members.filter(pl.col("entity_id").is_in(gone.entities.redirects["retired"].to_list()))
    assert set(only["source"]) == {"a"}
    with pytest.raises(InputError, match="'b' is to be replaced, and nothing is told of it now"):
        resolve({"a": fewer}, before=first, replaced=["b"])


def test_attributes_may_be_called_as_the_store_calls_its_own(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": [1, 2], "source": ["rose soap", "ink"], "record_id": ["x", "y"], "fresh": ["p", "q"]})
    tables = {name: Records.of(name, frame) for name in "ab"}
    first = resolve(tables).resolved
    write_entities(tmp_path / "entities", first)
    again = resolve(tables, before=read_entities(tmp_path / "entities"))
    assert again.resolved.attributes == ["source", "record_id", "fresh"] and again.figures["new_records"] == 0
    with pytest.raises(InputError, match="a source is called 'a:b'"):
        resolve({"a:b": tables["a"]})


def test_duplicates_inside_a_source_are_found_where_asked() -> None:
    tables, _ = feeds(60)
    both = pl.concat([tables[name].values.with_columns(id=tables[name].ids) for name in "ab"])
    one = Records.of("one", both)
    alone = resolve({"one": one})
    assert alone.figures["entities"] < len(one)
    third = resolve({"one": one, "c": tables["c"]}, ResolveConfig(duplicates=True))
    apart = resolve({"one": one, "c": tables["c"]})
    pairs = [found.resolved.pairs for found in (third, apart)]
    assert (pairs[0]["left_source"] == pairs[0]["right_source"]).any()
    assert not (pairs[1]["left_source"] == pairs[1]["right_source"]).any()


def test_entities_are_measured_against_labels() -> None:
    tables, _ = feeds()
    left, right = tables["a"], tables["b"]
    number = [one.ids.str.slice(1).to_numpy() for one in (left, right)]
    alike = number[0][:, None] == number[1][None]
    rows = np.argwhere(alike | (np.arange(len(left)) % 7 == 0)[:, None])
    same = RecordPairs(left, right, rows[:, 0], rows[:, 1], alike[*rows.T])
    found = resolve({"a": left, "b": right}).resolved.entities
    said = against_labels(found, same, "a", "b")
    assert said["recall"] > 0.8 and said["precision"] == 1.0 and said["unlabelled"] >= 0


def test_joined_pairs_besides_labelled_matches_are_counted() -> None:
    members = {"source": [*"aaaabbbb"], "record_id": [*"12341234"], "cluster": [0, 0, 0, 3, 0, 0, 2, 3]}
    found = updated(EntityMap(), pl.DataFrame(members))
    tables = {one: Records.of(one, pl.DataFrame({"id": [*"1234"], "title": [*"wxyz"]})) for one in "ab"}
    pairs = RecordPairs(*tables.values(), np.array([0, 1, 3]), np.array([0, 1, 0]), np.array([True, False, False]))
    said = against_labels(found, pairs, "a", "b")
    # joined: 1, 2 and 3 with 1 and 2, and 4 with 4; of a record of the match of 1 and 1 are four of these
    assert (said["called"], said["unlabelled"], said["besides"]) == (2, 5, 3)
    own = RecordPairs(tables["a"], tables["a"], np.array([0]), np.array([1]), np.array([True]))
    said = against_labels(found, own, "a")
    assert (said["called"], said["unlabelled"], said["besides"]) == (1, 2, 2)


def test_records_are_found_again(tmp_path: Path) -> None:
    tables, _ = feeds()
    write_entities(tmp_path / "entities", resolve(tables).resolved)
    finder = EntityFinder.load(tmp_path / "entities")
    asked = tables["a"].values["title"].to_list()[:20]
    found = finder.find([{"title": f"{one} !"} for one in asked])
    own = finder.entities.entities(tables["a"].ids.head(20), "a").to_list()
    assert np.mean([one.entity_id == mine for one, mine in zip(found, own, strict=True)]) > 0.9
    alone = [finder.find([{"title": f"{one} !"}])[0].entity_id for one in asked]
    assert alone == [one.entity_id for one in found]  # whoever else is asked about
    exact = finder.find([{"title": asked[0]}])[0].records[0]
    assert exact.log_odds > 0.1
    assert finder.find([{"title": "zzzz"}, {}])[0].entity_id is None
    with pytest.raises(InputError, match="record 1 of the records has 'colour'"):
        finder.find([{"colour": "red"}])
    with pytest.raises(InputError, match="was resolved without a matcher; leave it out"):
        EntityFinder.load(tmp_path / "entities", "models:/shops")


def test_entities_are_served(tmp_path: Path) -> None:
    tables, _ = feeds()
    two = resolve({name: tables[name] for name in "ab"}).resolved
    merged = resolve({"c": tables["c"]}, before=two).resolved
    write_entities(tmp_path / "entities", merged)
    client = TestClient(create_entity_app(EntityFinder.load(tmp_path / "entities")))
    title = tables["b"].values["title"][3]
    answer = client.post("/find", json={"records": [{"title": title}], "n": 2}).json()
    first = answer["found"][0]
    assert first["entity_id"] == first["records"][0]["entity_id"] and len(first["records"]) == 2
    assert first["records"][0]["probability"] >= 0.5 and first["records"][0]["values"]["title"]
    assert answer["entities"]["version"] == merged.entities.version == client.get("/version").json()["version"]
    for retired, now in merged.entities.redirects.iter_rows():
        told = client.get(f"/entities/{retired}").json()
        assert told["entity_id"] == str(now) and told["records"]
    assert client.get(f"/entities/{merged.entities.next_id}").status_code == 404
    assert client.get("/entities/0").status_code == 422 and client.get("/entities/x").status_code == 422
    assert client.post("/find", json={"records": []}).status_code == 422
    assert client.post("/find", json={"records": [{"title": "x" * 10_000_000}]}).status_code in (413, 422)
    assert client.get("/readyz").json() == {"status": "ready"}
    (example,) = client.get("/openapi.json").json()["components"]["schemas"]["FindRequest"]["examples"]
    assert client.post("/find", json=example).status_code == 200
    assert client.get("/docs").status_code == 200


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    tables, _ = feeds()
    found = {}
    for name, one in tables.items():
        found[name] = str(tmp_path / f"{name}.csv")
        one.values.with_columns(id=one.ids).write_csv(found[name])
    return found


def test_the_verb_resolves_and_goes_on(files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    into = str(tmp_path / "entities")
    lost = tmp_path / "lost.csv"
    assert main(["resolve", f"a={files['a']}", f"b={files['b']}", "--into", into, "--json", "--lost", str(lost)]) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert first["new_records"] == first["records"] and pl.read_csv(lost).height == first["lost"]
    assert main(["resolve", f"c={files['c']}", "--into", into]) == 0
    said = capsys.readouterr().out
    assert "since the last time" in said and "version 2" in said
    assert read_entities(into).entities.sources == ["a", "b", "c"]
    assert main(["resolve", f"c={files['c']}", "--into", into, "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["version"] == 2
    assert len(list((tmp_path / "entities").glob("v*"))) == 2  # nothing new is nothing written


def test_other_columns_are_mapped(files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    pl.read_csv(files["b"]).rename({"id": "sku", "title": "name"}).write_csv(files["b"])
    told = [f"a={files['a']}", f"b={files['b']}", "--into", str(tmp_path / "entities")]
    assert main(["resolve", *told, "--id", "b=sku", "--columns", "b:title=name", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["entities"] > 0


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["b=absent.csv"], "absent.csv"),
        (["b"], "'b' is not NAME=FILE"),
        ([f"a={__file__}"], "'a' is named twice"),
        (["--id", "z=sku"], "--id is of 'z', and the sources are a"),
        (["--columns", "a:colour=title,title=title", "--set", "clusters=magic"], "clusters is 'magic'"),
        (["--first", "x"], "--first goes with a matcher"),
        (["--set", "precision=0.9"], "precision goes with a matcher"),
        (["--one-to-one", "--duplicates"], "one_to_one is for sources without duplicates"),
        (["--lost", "nowhere/lost.csv"], "there is no folder nowhere to write lost.csv into"),
        (["--model", "no-such-folder"], "no-such-folder"),
    ],
)
def test_wrong_arguments_are_named(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture, more: list[str], named: str
) -> None:
    into = tmp_path / "entities"
    assert main(["resolve", f"a={files['a']}", *more, "--into", str(into)]) == 2
    said = capsys.readouterr().err.strip()
    assert named in said.splitlines()[-1] and not into.exists()


def test_a_folder_of_something_else_is_refused_at_once(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "one.txt").write_text("dear")
    assert main(["resolve", f"a={files['a']}", "--into", str(tmp_path / "letters")]) == 2
    said = capsys.readouterr().err
    assert "exists and holds no entities" in said and "looking for candidates" not in said


def test_sources_with_other_attributes_are_named() -> None:
    tables, _ = feeds(20)
    other = Records.of("other", pl.DataFrame({"id": [1], "name": ["x"]}))
    with pytest.raises(InputError, match="other tells name, and a tells title: map its columns to those"):
        resolve({"a": tables["a"], "other": other})
    first = resolve(tables).resolved
    with pytest.raises(InputError, match="other tells name, and what was resolved before has title"):
        resolve({"other": other}, before=first)
    with pytest.raises(InputError, match="no table of records"):
        resolve({})
    with pytest.raises(InputError, match="both given; a budget is one of them"):
        CascadeConfig(pairs=3, minutes=1)


def test_a_single_record_is_an_entity() -> None:
    found = resolve({"a": Records.of("a", pl.DataFrame({"id": [1], "title": ["x"]}))})
    assert len(found.resolved.entities) == 1 and found.figures["candidates"] == 0
