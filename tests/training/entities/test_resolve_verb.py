"""`recsys resolve` as people use it: what it refuses, what it tells of records and labels, what it writes beside."""

import json
import re
from pathlib import Path

import polars as pl
import pytest
import yaml

from features.entity_store import read_entities
from training.cli import main

KINDS = ["soap", "pen", "lamp", "cup", "oil", "tea", "jar", "map", "bag", "key", "mug", "hat", "box"]
#: things that two shops sell; the last three of each are its own
TITLES = [f"{KINDS[n % len(KINDS)]} model {chr(97 + n)}{chr(117 - n)} {100 + 7 * n}" for n in range(21)]


@pytest.fixture
def shops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two tables, a.csv and b.csv, whose first eighteen records are the same things."""
    monkeypatch.chdir(tmp_path)
    ids = [str(n) for n in range(len(TITLES))]
    price = [str(3 + n) for n in range(len(TITLES))]
    pl.DataFrame({"id": ids, "title": TITLES, "price": price}).write_csv("a.csv")
    theirs = [f"{one} !" if n < 18 else f"nothing like it {n}" for n, one in enumerate(TITLES)]
    theirs_cost = [*price[:18], "971", "63000", "88"]
    pl.DataFrame({"id": [f"b{one}" for one in ids], "title": theirs, "price": theirs_cost}).write_csv("b.csv")
    return tmp_path


def resolved(capsys: pytest.CaptureFixture, *told: str) -> dict:
    assert main(["resolve", *told, "--into", "map", "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def refused(capsys: pytest.CaptureFixture, *told: str) -> str:
    assert main(["resolve", *told]) == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_records_are_counted_once_each(shops: Path, capsys: pytest.CaptureFixture) -> None:
    first = resolved(capsys, "a=a.csv", "b=b.csv")
    counts = ("new_records", "changed_records", "unchanged_records", "removed_records")
    assert [first[one] for one in counts] == [42, 0, 0, 0] and first["events"] == {"new": first["entities"]}
    changed = pl.read_csv("a.csv", infer_schema=False)[2:].with_columns(
        title=pl.when(pl.col("id") == "5").then(pl.lit("altogether otherwise 9")).otherwise("title")
    )
    new = pl.DataFrame({"id": ["99"], "title": ["blue brush 77"], "price": ["1"]})
    pl.concat([changed, new]).write_csv("a.csv")
    told = ["a=a.csv", "--replace", "a", "--gone", "gone.csv", "--out", "all.csv"]
    second = resolved(capsys, *told)
    assert [second[one] for one in counts] == [1, 1, 39, 2]
    assert sum(second[one] for one in counts[:3]) == second["records"] == 41
    gone = pl.read_csv("gone.csv", infer_schema=False)
    assert gone.select("source", "record_id").rows() == [("a", "0"), ("a", "1")]
    now = read_entities("map")
    assert gone["now"].cast(pl.Int64).to_list() == now.entities.current(gone["entity_id"].cast(pl.Int64)).to_list()
    everything = pl.read_csv("all.csv", infer_schema=False)
    assert everything.columns == ["entity_id", "source", "record_id", "title", "price"] and everything.height == 41
    members = now.entities.members.select("entity_id", "source", "record_id").cast({"entity_id": pl.String})
    assert set(members.rows()) == set(everything.select("entity_id", "source", "record_id").rows())


def test_what_is_gone_is_told(shops: Path, capsys: pytest.CaptureFixture) -> None:
    resolved(capsys, "a=a.csv", "b=b.csv")
    pl.read_csv("b.csv", infer_schema=False)[:18].write_csv("b.csv")
    assert main(["resolve", "b=b.csv", "--replace", "b", "--into", "map"]) == 0
    said = capsys.readouterr().out
    assert "records that are gone: 3 (b:b18, b:b19, b:b20); entities that are gone with them: 3 (" in said
    assert "ids since the last time: 3 retired with the last of their records" in said


def test_records_that_come_back_are_led_to(shops: Path, capsys: pytest.CaptureFixture) -> None:
    resolved(capsys, "a=a.csv", "b=b.csv")
    before = read_entities("map").entities
    whole = pl.read_csv("a.csv", infer_schema=False)
    whole[:5].write_csv("a.csv")  # half a file arrives
    resolved(capsys, "a=a.csv", "--replace", "a")
    assert read_entities("map").entities.departed.height == len(TITLES) - 5
    whole.write_csv("a.csv")
    assert resolved(capsys, "a=a.csv", "--replace", "a")["events"]["back"] == 3
    now = read_entities("map").entities
    ids = [str(one) for one in range(len(TITLES))]
    led = now.current(before.entities(pl.Series(ids), "a"))
    assert led.to_list() == now.entities(pl.Series(ids), "a").to_list() and led.null_count() == 0


def test_a_feed_may_lack_an_attribute(shops: Path, capsys: pytest.CaptureFixture) -> None:
    pl.read_csv("b.csv", infer_schema=False).drop("price").write_csv("b.csv")
    assert main(["resolve", "a=a.csv", "b=b.csv", "--into", "map"]) == 0
    assert "note: b has no column 'price', so nothing is told of that" in capsys.readouterr().err
    records = read_entities("map").records
    assert set(records.filter(pl.col("$source") == "b")["price"]) == {""}
    assert main(["resolve", "b=b.csv", "--into", "map"]) == 0  # and later, of a map that has it
    assert "b.csv has no column 'cost'" in refused(capsys, "b=b.csv", "--into", "map", "--columns", "b:price=cost")
    pl.read_csv("b.csv", infer_schema=False).rename({"title": "name"}).write_csv("b.csv")
    said = refused(capsys, "b=b.csv", "--into", "map")
    assert "b.csv has no column 'title' or 'price'; its columns are id, name" in said


def labels(path: str, pairs: list[tuple[str, str, int]]) -> str:
    pl.DataFrame(pairs, schema=["left_id", "right_id", "label"], orient="row").write_csv(path)
    return path


def test_labels_that_are_all_the_same_say_nothing_of_precision(shops: Path, capsys: pytest.CaptureFixture) -> None:
    same = labels("same.csv", [(str(n), f"b{n}", 1) for n in range(18)])
    said = resolved(capsys, "a=a.csv", "b=b.csv", "--pairs", same)["labels"]
    assert said["precision"] is None and said["f1"] is None and said["recall"] > 0.8
    assert (said["pairs"], said["same"], said["sources"]) == (18, 18, ["a", "b"])
    assert main(["resolve", "a=a.csv", "--into", "map", "--pairs", same]) == 0
    told = capsys.readouterr().out
    assert "none is known to be different, so nothing is known of precision" in told and "F1" not in told
    other = labels("other.csv", [("0", "b20", 0)])
    said = resolved(capsys, "a=a.csv", "--pairs", other)["labels"]
    assert said["recall"] is None and said["f1"] is None
    pl.read_csv("same.csv").with_columns(label=pl.lit("")).write_csv("same.csv")
    empty = refused(capsys, "a=a.csv", "--into", "map", "--pairs", "same.csv")
    assert "same.csv has no label: its column 'label' is empty" in empty


def test_pairs_without_a_column_of_labels_are_matches(shops: Path, capsys: pytest.CaptureFixture) -> None:
    ours = [str(n) for n in range(18)]
    pl.DataFrame({"ours": ours, "theirs": [f"b{n}" for n in ours]}).write_csv("same.csv")
    asked = refused(capsys, "a=a.csv", "b=b.csv", "--into", "map", "--pairs", "same.csv")
    assert asked.endswith(
        "its columns are ours, theirs: say which of them stands for that with --pairs-columns "
        "left_id=COLUMN,right_id=COLUMN"
    )
    mapped = ["--pairs", "same.csv", "--pairs-columns", "left_id=ours,right_id=theirs"]
    said = resolved(capsys, "a=a.csv", "b=b.csv", *mapped)["labels"]
    assert said["recall"] > 0.8 and said["precision"] is None and said["same"] == said["pairs"] == 18
    assert main(["resolve", "a=a.csv", "--into", "map", *mapped]) == 0
    told = capsys.readouterr().out
    assert "against 18 pairs of a and b, all taken for the same since same.csv has no column 'label'" in told
    pl.read_csv("same.csv").with_columns(truth=pl.lit(1)).write_csv("same.csv")
    mapped[-1] += ",label=truth"
    assert main(["resolve", "a=a.csv", "--into", "map", *mapped]) == 0
    assert "against 18 labelled pairs of a and b, 18 of them the same" in capsys.readouterr().out


def test_all_that_is_wrong_with_columns_is_told_with_what_mends_it(shops: Path, capsys: pytest.CaptureFixture) -> None:
    pl.read_csv("a.csv", infer_schema=False).rename({"id": "sku"}).write_csv("a.csv")
    pl.read_csv("b.csv", infer_schema=False).rename({"id": "code", "title": "name", "price": "cost"}).write_csv("b.csv")
    said = refused(capsys, "a=a.csv", "b=b.csv", "--into", "map")
    assert (
        "a.csv has no column 'id'; its columns are sku, title, price: name its column of ids with --id a=COLUMN; "
        in said
    )
    assert "b.csv has no column 'id' or 'title' or 'price'; its columns are code, name, cost: name its" in said
    assert said.endswith(
        "--id b=COLUMN, and say which of them is which attribute with --columns b:title=COLUMN,price=COLUMN"
    )
    mended = ["--id", "a=sku", "--id", "b=code", "--columns", "b:title=name,price=cost"]
    assert resolved(capsys, "a=a.csv", "b=b.csv", *mended)["records"] == 42


def test_candidates_are_written_with_entities_and_by_themselves(shops: Path, capsys: pytest.CaptureFixture) -> None:
    same = labels("same.csv", [(str(n), f"b{n}", 1) for n in range(18)])
    told = ["resolve", "a=a.csv", "b=b.csv", "--candidates", "found.csv", "--set", "blocking.ways=[characters, words]"]
    assert main([*told, "--pairs", same, "--set", "blocking.candidates=2"]) == 0
    assert "a and b: 42 candidates, 2.0 a record" in capsys.readouterr().out and not Path("map").exists()
    alone = pl.read_csv("found.csv", infer_schema=False)
    assert alone.columns == ["left_id", "right_id", "similar", "strength", "by"] and alone.height == 42
    strength = alone["strength"].cast(pl.Float64)
    assert strength.is_sorted(descending=True) and set(alone["by"]) <= {"characters", "words", "characters+words"}
    pairs = alone.select("left_id", "right_id").rows()
    assert {(str(n), f"b{n}") for n in range(18)} <= set(pairs) and len(set(pairs)) == 42
    found = resolved(capsys, *told[1:], "--set", "blocking.candidates=2")
    assert pl.read_csv("found.csv", infer_schema=False).equals(alone) and found["blocking"]["candidates"] == 42
    assert main(["resolve", "b=b.csv", "--candidates", "own.parquet", "--json"]) == 0
    own = pl.read_parquet("own.parquet")
    assert json.loads(capsys.readouterr().out)["blocking"]["sources"] == ["b"]
    assert own.height and (own["left_id"] != own["right_id"]).all() and own["left_id"].str.starts_with("b").all()
    assert [one.name for one in shops.iterdir() if one.name.startswith(".")] == []


def test_one_to_one_tells_what_is_kept(shops: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["resolve", "a=a.csv", "b=b.csv", "--into", "map", "--one-to-one"]) == 0
    told = capsys.readouterr().out
    kept = int(re.search(r"one to one: of [\d,]+ pairs above the threshold, (\d+) are kept", told)[1])
    entities = read_entities("map").entities
    assert "called the same" not in told and kept == len(TITLES) * 2 - len(entities)


def test_labels_are_of_what_the_map_has_as_well(shops: Path, capsys: pytest.CaptureFixture) -> None:
    both = labels("both.csv", [("3", "b3", 1), ("3", "b4", 0), ("4", "b4", 1)])
    whole = resolved(capsys, "a=a.csv", "b=b.csv", "--pairs", both)["labels"]
    pl.read_csv("b.csv", infer_schema=False)[:1].write_csv("b.csv")
    assert resolved(capsys, "b=b.csv", "--pairs", both)["labels"] == whole  # in the order of the first call
    turned = labels("turned.csv", [("b3", "3", 1), ("b4", "3", 0), ("b4", "4", 1)])
    said = resolved(capsys, "b=b.csv", "--pairs", turned, "--pairs-of", "b,a", "--lost", "lost.csv")["labels"]
    assert said == {**whole, "sources": ["b", "a"]}
    assert "lacks, such as 'b3'" in refused(capsys, "b=b.csv", "--into", "map", "--pairs", turned)
    named = refused(capsys, "b=b.csv", "--into", "map", "--pairs", turned, "--pairs-of", "b,c")
    assert "--pairs-of names 'c', and the sources are a, b" in named


@pytest.mark.parametrize(
    ("told", "named"),
    [
        (["a=a.csv", "--set", "cascade.pairs=5"], "cascade.pairs goes with a matcher, and --model names none"),
        (["a=a.csv", "--set", "cascade.minutes=5"], "cascade.minutes goes with a matcher"),
        (["a=a.csv", "--set", "encoder.pooling=mean"], "encoder makes vectors of records, and blocking.ways is"),
        (["a=a.csv", "--set", "blocking.size=9"], "n-grams have 1 to 3 characters"),
        (["a=a.csv", "--set", "colour=red"], "no setting 'colour'; 'recsys resolve --print-config' shows all of them"),
        (["a=a.csv", "--set", "blocking=red"], "'recsys resolve --print-config' shows what is in it"),
        (["a=a.csv", "--out", "all.txt"], "--out ends in .csv or .parquet"),
        (["a=a.csv", "--gone", "nowhere/gone.csv"], "there is no folder nowhere"),
        (["a=a.csv", "--pairs-of", "a,b"], "--pairs-of says of which sources --pairs, --lost and --candidates are"),
        (["a=a.csv", "--candidates", "found.txt"], "--candidates ends in .csv or .parquet"),
        (["a=a.csv", "--pairs-columns", "label=same"], "--pairs-columns says what the columns of --pairs are called"),
        ([], "there is no table to resolve"),
    ],
)
def test_what_cannot_be_done_is_named(shops: Path, capsys: pytest.CaptureFixture, told: list[str], named: str) -> None:
    assert named in refused(capsys, *told, "--into", "map") and not Path("map").exists()


def test_where_entities_go_has_to_be_said(shops: Path, capsys: pytest.CaptureFixture) -> None:
    assert "--into names the folder where entities are kept" in refused(capsys, "a=a.csv")
    said = refused(capsys, "a=a.csv", "--candidates", "found.csv", "--out", "all.csv")
    assert "--out is of entities, and --into names no folder for them" in said and not Path("found.csv").exists()


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("blocking.candidates=3", "blocking.candidates was 10"),
        ("blocking.ways=[words]", "blocking.ways was ['characters']"),
        ("clusters=centre", "clusters was 'correlation'"),
    ],
)
def test_rules_stay_unless_all_is_judged_anew(
    shops: Path, capsys: pytest.CaptureFixture, setting: str, named: str
) -> None:
    resolved(capsys, "a=a.csv", "b=b.csv")
    assert named in refused(capsys, "a=a.csv", "--into", "map", "--set", setting)
    assert resolved(capsys, "a=a.csv", "--set", setting, "--anew")["version"] >= 1
    assert resolved(capsys, "a=a.csv")["records"] == 42  # by the rules that it has now


def test_all_settings_are_shown_as_the_map_has_them(shops: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["resolve", "--print-config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["clusters"] == "correlation"
    resolved(capsys, "a=a.csv", "b=b.csv", "--set", "clusters=centre")
    assert main(["resolve", "--print-config", "--into", "map"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["clusters"] == "centre"


def test_estimates_are_called_what_they_are(shops: Path, capsys: pytest.CaptureFixture) -> None:
    assert resolved(capsys, "a=a.csv", "b=b.csv")["estimated"]["bias"] == "likely too high"
    assert main(["resolve", "a=a.csv", "--into", "map"]) == 0
    assert "estimated without a label, and likely too high" in capsys.readouterr().out
