"""The data sets of next-item benchmarks, from files of their layout."""

import importlib.util
from pathlib import Path

import pytest

from features.errors import InputError

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "sequence_data.py"


@pytest.fixture(scope="module")
def sequence_data():
    spec = importlib.util.spec_from_file_location("benchmark_sequence_data", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _beauty(root: Path) -> Path:
    folder = root / "amazon-beauty"
    folder.mkdir()
    (folder / "interactions.csv").write_text("user_id,item_id,position\nu,B1,1\nu,B2,0\nu,7806397051,2\nv,B3,0\n")
    (folder / "items.csv").write_text(
        "item_id,title,attributes\n"
        'B1,"OPI Nail Lacquer, OPI 5 Red",OPI|Makeup|Nails|Nail Polish\n'
        "7806397051,Big Shadow,Unknown|Makeup|Face\n"
        "B2,Hand's Bath,Skin Care|Face\n"
        "B3,,Skin Care|Skin Care\n"
    )
    return root


def test_attributes_of_beauty_are_a_brand_and_a_path_of_categories(sequence_data, tmp_path: Path) -> None:
    dataset = sequence_data.load("amazon-beauty", _beauty(tmp_path))
    assert dataset.interactions.rows() == [("u", "B1", 1), ("u", "B2", 0), ("u", "7806397051", 2), ("v", "B3", 0)]
    items = {row["item_id"]: row for row in dataset.items.rows(named=True)}
    assert [items[one]["brand"] for one in ("B1", "B2", "B3", "7806397051")] == ["OPI", None, None, None]
    assert items["B1"]["categories"] == ["Makeup", "Makeup > Nails", "Makeup > Nails > Nail Polish"]
    assert items["7806397051"]["subcategory"] == "Makeup > Face" and items["B2"]["subcategory"] == "Skin Care > Face"
    assert (items["B3"]["category"], items["B3"]["subcategory"], items["B3"]["words"]) == ("Skin Care", None, [])
    assert items["B1"]["words"] == ["opi", "nail", "lacquer", "red"] and items["B2"]["words"] == ["hand's", "bath"]
    fewer = sequence_data.described_by(dataset, "brand", "title")
    assert [feature.name for feature in fewer.schema.item] == ["brand", "title"] and fewer.name == "amazon-beauty"


def test_sequences_and_true_times(sequence_data, tmp_path: Path) -> None:
    (tmp_path / "sequences").mkdir()
    (tmp_path / "sequences" / "ml-1m-sequences.txt").write_text("1 5 3 4\n2 3 5\n")
    assert repr(sequence_data.load("ml-1m", tmp_path)) == "Dataset('ml-1m': 5 interactions of 2 users with 3 items)"
    folder = tmp_path / "ml-1m"
    folder.mkdir()
    (folder / "ratings_real_timestamps_users_1_to_2999.dat").write_text("1::7::1::978300760\n1::9::5::978300760\n")
    (folder / "movies.dat").write_text("7::A (1999)::Drama\n8::B (1999)::Drama\n9::C (1999)::Drama\n")
    (folder / "users.dat").write_text("1::F::1::10::48067\n2::F::1::10::48067\n")
    timed = sequence_data.load("ml-1m-real-time", tmp_path)
    assert repr(timed) == "Dataset('ml-1m-real-time': 2 interactions of 1 users with 2 items)"
    assert timed.interactions["timestamp"].to_list() == [978300760, 978300760]


def test_an_unknown_name_is_told(sequence_data, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no data set 'ml-20m'; they are generated, ml-1m, "):
        sequence_data.load("ml-20m", tmp_path)
