"""Folders of CSV and parquet: ids survive, and every bad file is told in one sentence."""

from pathlib import Path

import polars as pl
import pytest
import yaml

from features.errors import InputError
from features.sources import load
from features.sources.tables import write_tables

LOG = "user_id,item_id,timestamp\nu1,7,30\nu2,8,10\nu1,8,20\n"


def _folder(path: Path, **files: str | bytes) -> Path:
    for name, content in files.items():
        name = name.replace("__", ".")
        (path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_the_least_is_one_file(tmp_path: Path) -> None:
    dataset = load("tables", _folder(tmp_path, interactions__csv=LOG))
    assert dataset.interactions.rows() == [("u1", 7, 30), ("u2", 8, 10), ("u1", 8, 20)]
    assert dataset.name == tmp_path.name
    alone = load("tables", tmp_path / "interactions.csv")
    assert alone.interactions.equals(dataset.interactions)


@pytest.mark.parametrize(
    "ids", [["9007199254740993", "9007199254740992"], [str(2**63 - 1), str(-(2**63))], ["16777217", "16777216"]]
)
def test_large_integer_ids_survive(tmp_path: Path, ids: list[str]) -> None:
    log = "user_id,item_id,timestamp\n" + "".join(f"{one},{one},1\n" for one in ids)
    dataset = load("tables", _folder(tmp_path, interactions__csv=log))
    assert dataset.interactions["item_id"].to_list() == [int(one) for one in ids]
    assert dataset.users.height == dataset.items.height == 2


@pytest.mark.parametrize("odd", ["017", "+17", str(2**64), "17.0", "1e3", " 17"])
def test_ids_that_are_not_written_as_integers_stay_text(tmp_path: Path, odd: str) -> None:
    log = f"user_id,item_id,timestamp\n1,17,1\n2,{odd},2\n"
    dataset = load("tables", _folder(tmp_path, interactions__csv=log))
    assert dataset.interactions["item_id"].to_list() == ["17", odd]
    assert dataset.interactions["user_id"].to_list() == [1, 2]


def test_tables_agree_on_the_type_of_an_id(tmp_path: Path) -> None:
    """The catalogue has one id with a leading zero: then all are text, in the interactions as well."""
    files = {"interactions__csv": LOG, "items__csv": "item_id,title\n7,Tea\n8,Ink\n007,Bond\n"}
    dataset = load("tables", _folder(tmp_path, **files))
    assert dataset.interactions["item_id"].to_list() == ["7", "8", "8"]
    assert dataset.orphans == 0


def test_a_parquet_file_knows_its_types(tmp_path: Path) -> None:
    log = pl.DataFrame({"user_id": ["1", "2"], "item_id": [2**53 + 1, 5], "timestamp": [1, 2], "unused": [[1], [2]]})
    log.write_parquet(tmp_path / "interactions.parquet")
    _folder(tmp_path, items__csv=f"item_id,title\n{2**53 + 1},Tea\n5,Ink\n")
    dataset = load("tables", tmp_path)
    assert dataset.interactions["user_id"].to_list() == ["1", "2"]  # strings there are meant as strings
    assert dataset.interactions.columns == ["user_id", "item_id", "timestamp"]
    assert dataset.orphans == 0


def test_schema_yaml_maps_files_columns_and_features(tmp_path: Path) -> None:
    schema = """
interactions: {file: ratings.tsv, columns: {user_id: uid, item_id: movie, timestamp: when, weight: stars}}
items: {file: movies.csv, separator: ";", columns: {item_id: id}}
features:
  user: [{name: history, kind: sequence, max_length: 50}]
  item: [{name: item_id, kind: id}, {name: kinds, kind: multi_valued, separator: "/"}, {name: year, kind: categorical}]
"""
    ratings = "uid\tmovie\tstars\twhen\nu1\t1\t4.5\t2024-01-02 03:04:05\nu1\t2\t5\t2024-01-01 00:00:00\n"
    movies = "id;kinds;year;other\n1;a/b;1999;x\n2;b;2001;y\n"
    dataset = load("tables", _folder(tmp_path, schema__yaml=schema, ratings__tsv=ratings, movies__csv=movies))
    assert dataset.interactions["weight"].to_list() == [4.5, 5.0]
    assert dataset.interactions["timestamp"][0] - dataset.interactions["timestamp"][1] == 97_445 * 1_000_000
    assert dataset.items.columns == ["item_id", "kinds", "year"]  # what nothing declares is not read
    assert dataset.schema.history.max_length == 50
    assert [one.kind for one in dataset.schema.item] == ["id", "multi_valued", "categorical"]


def test_without_timestamps_the_order_of_the_file_counts(tmp_path: Path) -> None:
    dataset = load("tables", _folder(tmp_path, interactions__csv="user_id,item_id\nu1,7\nu1,8\n"))
    assert dataset.interactions["timestamp"].to_list() == [0, 1]
    schema = {"interactions": {"columns": {"timestamp": None}}}
    dataset = load("tables", _folder(tmp_path, interactions__csv=LOG), schema=schema)
    assert dataset.interactions["timestamp"].to_list() == [0, 1, 2]


def test_features_are_inferred(tmp_path: Path) -> None:
    rows = [
        f'{one},"Item, no {one}",red|blue,{one}.5,{"yes" if one % 2 else "no"},0{one},a long text {one}'
        for one in range(10)
    ]
    items = "item_id,title,colours,price,fresh,code,about\n" + "\n".join(rows) + "\n"
    users = "user_id,age,title\nu1,30,Dr\nu2,,Ms\n"
    dataset = load("tables", _folder(tmp_path, interactions__csv=LOG, items__csv=items, users__csv=users))
    assert {one.name: one.kind for one in dataset.schema.item} == {
        "item_id": "id",
        "item_title": "text",
        "colours": "multi_valued",
        "price": "numeric",
        "fresh": "categorical",
        "code": "text",
        "about": "text",
    }
    assert {one.name: one.kind for one in dataset.schema.user} == {
        "age": "numeric",
        "user_title": "text",
        "history": "sequence",
    }
    assert dataset.items["code"][0] == "00"
    assert dataset.users["age"].to_list() == [30, None]


def test_a_data_set_written_and_read_is_the_same(tmp_path: Path) -> None:
    dataset = load("generated", interactions=1000)
    write_tables(dataset, tmp_path / "shop")
    again = load("tables", tmp_path / "shop")
    assert again.sha256 == dataset.sha256
    assert again.schema == dataset.schema
    assert [one.name for one in tmp_path.iterdir()] == ["shop"]
    with pytest.raises(InputError, match="shop exists and is not an empty folder"):
        write_tables(dataset, tmp_path / "shop")


def test_a_byte_order_mark_and_windows_lines_do_no_harm(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + LOG.replace("\n", "\r\n").encode()
    dataset = load("tables", _folder(tmp_path, interactions__csv=content))
    assert dataset.interactions.rows() == [("u1", 7, 30), ("u2", 8, 10), ("u1", 8, 20)]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no interactions.csv or interactions.parquet, and no schema.yaml names one"),
        ({"interactions__csv": ""}, r"interactions\.csv is empty"),
        ({"interactions__csv": "user_id,item_id,timestamp\n"}, r"interactions\.csv has a header and no row"),
        (
            {"interactions__csv": "user_id,movie\n1,2\n"},
            r"interactions\.csv has no column 'item_id'; its columns are user_id, movie",
        ),
        (
            {"interactions__csv": LOG + "u9,7\n"},
            r"line 5 of .*interactions\.csv has 2 fields, and its header 3: 'u9,7'",
        ),
        ({"interactions__csv": LOG + "u9,7,3,4\n"}, r"line 5 of .* has 4 fields, and its header 3"),
        (
            {"interactions__csv": LOG + ",7,3\n"},
            "column 'user_id' of the interactions is null in 1 of 4 rows, first in row 3",
        ),
        ({"interactions__csv": LOG + "u9,7,soon\n"}, "column 'timestamp' of the interactions holds String"),
        ({"interactions__csv": LOG.encode() + b"\xff\xfe,7,3\n"}, "is not UTF-8 text|cannot be read"),
        (
            {"interactions__csv": LOG, "interactions__parquet": b"x"},
            "interactions.parquet and interactions.csv; name one",
        ),
        ({"interactions__parquet": b"PAR1 cut off"}, r"interactions\.parquet cannot be read"),
        (
            {"interactions__csv": LOG, "items__csv": "item_id,title\n7,a\n7,b\n"},
            "holds 1 ids more than once, such as 7",
        ),
        (
            {"interactions__csv": LOG, "schema__yaml": "interaction: {}"},
            "unknown key 'interaction'; it takes interactions",
        ),
        ({"interactions__csv": LOG, "schema__yaml": "items: {path: x}"}, "'items' in .* has an unknown key 'path'"),
        (
            {"interactions__csv": LOG, "schema__yaml": "items: {dated: true}"},
            "'items' in .* has an unknown key 'dated'",
        ),
        ({"interactions__csv": LOG, "schema__yaml": "interactions: {dated: 7}"}, "is true or false, got 7"),
        ({"interactions__csv": LOG, "schema__yaml": "items: {file: x.csv}"}, "there is no file .*x.csv"),
        (
            {"interactions__csv": LOG, "schema__yaml": "items: {file: x.xls}"},
            "x.xls is not a .csv, .tsv or .parquet file",
        ),
        ({"interactions__csv": LOG, "schema__yaml": "items: [1"}, "schema.yaml is not YAML"),
        ({"interactions__csv": LOG, "schema__yaml": "- 1"}, "is not a mapping"),
        (
            {"interactions__csv": LOG, "schema__yaml": "features: {item: [{name: genre, kind: colour}]}"},
            "'genre' is of kind 'colour'",
        ),
        (
            {"interactions__csv": LOG, "schema__yaml": "interactions: {columns: {timestamp: when}}"},
            r"has no column 'when' \(for timestamp\)",
        ),
    ],
)
def test_bad_files_are_told_in_one_sentence(tmp_path: Path, files: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load("tables", _folder(tmp_path, **files))
    assert "\n" not in str(caught.value)


def test_orphans_can_be_an_error(tmp_path: Path) -> None:
    _folder(tmp_path, interactions__csv=LOG, items__csv="item_id,title\n7,Tea\n")
    assert load("tables", tmp_path).orphans == 2
    with pytest.raises(InputError, match="2 of 3 interactions have an item_id that the items lack, such as 8"):
        load("tables", tmp_path, on_orphans="error")


def test_a_place_is_needed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give its path as root"):
        load("tables")
    with pytest.raises(InputError, match=r"there is no .*nowhere"):
        load("tables", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("log", "schema", "dated"),
    [
        (LOG, "{}", True),
        (LOG, "interactions: {dated: false}", False),
        (LOG.replace("timestamp", "price"), "{}", False),
        (LOG.replace("timestamp", "price"), "interactions: {columns: {timestamp: price}}", True),
    ],
)
def test_whether_timestamps_are_moments_is_known_and_kept(tmp_path: Path, log: str, schema: str, dated: bool) -> None:
    dataset = load("tables", _folder(tmp_path, interactions__csv=log, schema__yaml=schema))
    assert dataset.dated is dated
    write_tables(dataset, tmp_path / "again")
    again = load("tables", tmp_path / "again")
    assert again.dated is dated and again.interactions["timestamp"].equals(dataset.interactions["timestamp"])


def test_who_calls_columns_otherwise_is_told_how_to_say_so(tmp_path: Path) -> None:
    """And what is told, copied as it stands, is all that was wrong."""
    (tmp_path / "interactions.csv").write_text("Customer No,sku,bought_at\na,b,1\nc,b,2\n")
    with pytest.raises(InputError, match=r"its columns are .*; say in schema\.yaml which it is: ") as told:
        load("tables", tmp_path)
    (tmp_path / "schema.yaml").write_text(str(told.value).partition("which it is: ")[2])
    assert load("tables", tmp_path).interactions["user_id"].to_list() == ["a", "c"]
    with pytest.raises(InputError, match=r"; say in data\.settings\.schema which it is: ") as told:
        load("tables", tmp_path / "interactions.csv")
    given = yaml.safe_load(str(told.value).partition("which it is: ")[2])
    assert load("tables", tmp_path / "interactions.csv", schema=given).items["item_id"].to_list() == ["b"]
    (tmp_path / "schema.yaml").write_text("interactions: {columns: {user_id: who, item_id: sku}}")
    with pytest.raises(InputError, match=r"has no column 'who' \(for user_id\); its columns are [^;]*$"):
        load("tables", tmp_path)
