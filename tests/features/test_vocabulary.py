"""Raw ids to rows and back, exactly: against a dictionary, and for the ids that floats and 32 bits would lose."""

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from features.errors import InputError
from features.id_index import IdIndex
from features.ids import canonical_ids, integers_if_exact
from features.vocabulary import Vocabulary, load_vocabularies, save_vocabularies

INT64 = st.integers(-(2**63), 2**63 - 1)
NEAR = st.integers(-50, 50)
TEXT = st.text(max_size=6)
HARD = [2**31, 2**31 + 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 16777216, 16777217, 0, -1]


@given(st.one_of(*(st.tuples(st.lists(one, max_size=30), st.lists(one, max_size=30)) for one in (INT64, NEAR, TEXT))))
@example((HARD, [one - 1 for one in HARD[:-5]]))
@example(([2**63 - 1, -(2**63)], [0, 2**63 - 2]))
def test_rows_are_those_of_a_dictionary(sides: tuple[list, list]) -> None:
    known, asked = sides
    dtype = pl.String if any(isinstance(one, str) for one in known + asked) else pl.Int64
    vocabulary = Vocabulary.fit("id", pl.Series(known, dtype=dtype))
    places = {
        one: row
        for row, one in enumerate(sorted(set(known), key=lambda one: one.encode() if dtype == pl.String else one))
    }
    assert vocabulary.ids.to_list() == list(places)
    assert vocabulary.rows(asked + known).tolist() == [places.get(one, -1) for one in asked + known]
    assert vocabulary.ids_of(vocabulary.rows(known)).to_list() == known


@given(st.lists(INT64, unique=True, max_size=300), st.integers(0, 63))
def test_the_hash_table_finds_every_key(keys: list[int], shift: int) -> None:
    keys = np.array(sorted({(one << shift) % 2**64 - 2**63 for one in keys}), dtype=np.int64)
    index = IdIndex(keys)
    assert (index.positions(keys) == np.arange(len(keys))).all()
    others = keys ^ 1
    assert ((index.positions(others) >= 0) == np.isin(others, keys)).all()


def test_millions_of_rows_in_chunks_are_mapped_as_few_are() -> None:
    """Sizes above the chunks that mapping works in, dense, sparse and text."""
    n = 3_000_000
    drawn = np.random.default_rng(0).integers(0, 1000, n)
    for ids in (np.arange(1000) + 2**53, np.arange(1000) * 2**53, None):
        known = pl.Series([f"u{one}" for one in range(1000)]) if ids is None else pl.Series(ids)
        column = known.gather(drawn)
        vocabulary = Vocabulary.fit("id", column)
        assert len(vocabulary) == 1000
        assert vocabulary.ids.gather(vocabulary.rows(column)).equals(column)


def test_ids_that_no_float_tells_apart_stay_apart() -> None:
    vocabulary = Vocabulary.fit("item_id", pl.Series([2**53, 2**53 + 1, 2**60, 2**60 + 1]))
    assert vocabulary.rows([2**53 + 1, 2**60 + 1, 2**53 + 2]).tolist() == [1, 3, -1]


def test_a_string_is_not_the_number_it_spells() -> None:
    numbers = Vocabulary.fit("item_id", pl.Series([17]))
    with pytest.raises(InputError, match="'item_id' are integers, and strings were given, such as '17'"):
        numbers.rows(["17"])
    with pytest.raises(InputError, match="strings, and integers"):
        Vocabulary.fit("item_id", pl.Series(["17", "017"])).rows([17])
    assert Vocabulary.fit("item_id", pl.Series(["17"])).rows(["017", "17 ", "17"]).tolist() == [-1, -1, 0]


def test_nulls_huge_numbers_and_empty_lists_are_unknown() -> None:
    vocabulary = Vocabulary.fit("item_id", pl.Series([0, 5, None]))
    assert vocabulary.rows([None, 5, 2**70, -(2**70)]).tolist() == [-1, 1, -1, -1]
    assert vocabulary.rows(pl.Series([None, None], dtype=pl.String)).tolist() == [-1, -1]
    assert vocabulary.rows([]).tolist() == []
    assert vocabulary.rows(np.array([5], dtype=np.uint8)).tolist() == [1]
    assert Vocabulary.fit("item_id", pl.Series([], dtype=pl.Int64)).rows(["a"]).tolist() == [-1]
    assert vocabulary.ids_of([-1, 1]).to_list() == [None, 5]


@pytest.mark.parametrize("bad", [[1, "a"], [True], [1.0], np.array([1.5])])
def test_lists_that_are_no_ids_are_refused(bad) -> None:
    with pytest.raises(InputError, match="item_id"):
        Vocabulary.fit("item_id", pl.Series([1])).rows(bad)


def test_rows_outside_are_refused() -> None:
    with pytest.raises(InputError, match="rows 0 to 0"):
        Vocabulary.fit("item_id", pl.Series([1])).ids_of([1])


def test_mixed_columns_are_refused() -> None:
    with pytest.raises(InputError, match="integers in one table and strings in another"):
        Vocabulary.fit("item_id", pl.Series([1]), pl.Series(["a"]))


def test_equal_hashes_of_different_strings_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.vocabulary.id_keys", lambda ids: np.zeros(len(ids), dtype=np.int64))
    with pytest.raises(InputError, match="'a' and 'b' of 'item_id'"):
        Vocabulary.fit("item_id", pl.Series(["a", "b"]))


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt32, pl.UInt64, pl.Int128])
def test_integers_of_any_width_become_int64(dtype: pl.DataType) -> None:
    assert canonical_ids(pl.Series([1, 100, None], dtype=dtype), "x").equals(pl.Series([1, 100, None]))


def test_integers_beyond_64_signed_bits_are_refused() -> None:
    with pytest.raises(InputError, match=f"'x' has 1 .* such as {2**63}"):
        canonical_ids(pl.Series([1, 2**63], dtype=pl.UInt64), "x")


def test_categories_become_strings_and_floats_do_not_become_ids() -> None:
    assert canonical_ids(pl.Series(["a", "b"], dtype=pl.Categorical), "x").dtype == pl.String
    assert canonical_ids(pl.Series(["a"], dtype=pl.Enum(["a"])), "x").to_list() == ["a"]
    with pytest.raises(InputError, match="'x' holds Float64 ids, which lose digits"):
        canonical_ids(pl.Series([1.0]), "x")
    with pytest.raises(InputError, match="'x' holds Boolean"):
        canonical_ids(pl.Series([True]), "x")


@given(st.lists(INT64, min_size=1, max_size=10))
def test_exact_integers_come_out_of_text(numbers: list[int]) -> None:
    (column,) = integers_if_exact(pl.Series([str(one) for one in numbers]))
    assert column.dtype == pl.Int64
    assert column.to_list() == numbers


@pytest.mark.parametrize("text", ["017", "+3", " 4", "4 ", "1e5", "4.0", str(2**63), "-0", "", "1_000", "٣"])
def test_one_inexact_integer_keeps_the_column_text(text: str) -> None:
    columns = integers_if_exact(pl.Series(["1", text]), pl.Series(["2"]))
    assert [column.to_list() for column in columns] == [["1", text], ["2"]]


def test_vocabularies_survive_a_file(tmp_path) -> None:
    users = Vocabulary.fit("user_id", pl.Series(["b", "a", ""]))
    items = Vocabulary.fit("item_id", pl.Series(HARD))
    save_vocabularies(tmp_path / "v.parquet", [users, items])
    table = pl.read_parquet(tmp_path / "v.parquet")
    assert dict(table.schema) == {"feature": pl.String, "row": pl.Int64, "integer": pl.Int64, "string": pl.String}
    loaded = load_vocabularies(tmp_path / "v.parquet")
    assert list(loaded) == ["user_id", "item_id"]
    for one in (users, items):
        assert loaded[one.name].sha256 == one.sha256
        assert loaded[one.name].ids.equals(one.ids)
    assert [one.name for one in tmp_path.iterdir()] == ["v.parquet"]


def test_a_damaged_file_of_vocabularies_is_named(tmp_path) -> None:
    path = tmp_path / "v.parquet"
    save_vocabularies(path, [Vocabulary.fit("item_id", pl.Series([1, 2, 3]))])
    pl.read_parquet(path)[::-1].write_parquet(path)
    with pytest.raises(InputError, match=r"'item_id' in .*rows out of order"):
        load_vocabularies(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match=r"v\.parquet cannot be read"):
        load_vocabularies(path)


def test_the_hash_depends_on_ids_their_type_and_the_name() -> None:
    hashes = {
        Vocabulary.fit(name, pl.Series(ids)).sha256
        for name, ids in (
            ("a", [1, 2]),
            ("b", [1, 2]),
            ("a", [1, 3]),
            ("a", ["1", "2"]),
            ("a", ["12"]),
            ("a", ["", "12"]),
        )
    }
    assert len(hashes) == 6
