"""Pairs of texts: what belongs together, by brute force, and nothing of what training must not see."""

from itertools import combinations, pairwise

import numpy as np
import polars as pl
import pytest

from features.dataset import Dataset
from features.errors import InputError
from features.item_text import whole_sentences
from features.prepared import Prepared
from features.splits import TRAIN, make_split
from features.text_pairs import KINDS, PairsConfig, PairSource

COLUMNS = ("title", "brand")
SPLITS = {
    "leave-one-out": {},
    "time": {"validation": 0.2, "test": 0.2},
    "cold-items": {"validation": 0.2, "test": 0.2},
}


def _dataset(seed: int = 0, n: int = 300) -> Dataset:
    """30 items of which some have no text, one is never taken, and titles are in no order."""
    random = np.random.default_rng(seed)
    numbers = random.permutation(30)
    items = pl.DataFrame(
        {
            "item_id": [f"i{one:02}" for one in numbers],
            "title": [None if one % 5 == 0 else f"title of {one}" for one in numbers],
            "brand": [None if one % 3 == 0 else f"brand {one % 4}" for one in numbers],
        }
    )
    asked = random.integers(0, 4, n)
    log = pl.DataFrame(
        {
            "user_id": [f"u{one}" for one in random.integers(0, 25, n)],
            "item_id": [f"i{one:02}" for one in random.integers(0, 29, n)],
            "timestamp": random.integers(0, 1000, n),
            "query": [[None, "", " where is it ", f"asked {k}"][one] for k, one in enumerate(asked)],
        }
    )
    return Dataset.construct("shop", log, items)


def _prepared(split: str = "leave-one-out", seed: int = 0) -> Prepared:
    dataset = _dataset(seed)
    return Prepared.of(dataset, make_split(split, dataset, **SPLITS[split]))


def _histories(prepared: Prepared) -> list[list[str]]:
    """Each user's training items that have a text, oldest first."""
    dataset = prepared.dataset
    texts = dict(zip(dataset.items["item_id"], whole_sentences(dataset.items, COLUMNS), strict=True))
    log = dataset.interactions.filter(pl.Series(prepared.split.parts == TRAIN)).sort("timestamp", maintain_order=True)
    return [
        [item for item in of_user["item_id"] if texts[item] is not None]
        for of_user in log.partition_by("user_id", maintain_order=True)
    ]


def _near(prepared: Prepared, window: int) -> set[frozenset[str]]:
    return {
        frozenset((one, other))
        for history in _histories(prepared)
        for (at, one), (later, other) in combinations(enumerate(history), 2)
        if later - at <= window
    }


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_pair_holds_what_training_must_not_see(kind: str, split: str) -> None:
    prepared = _prepared(split)
    source = PairSource(prepared, COLUMNS, "item: ", PairsConfig(kind=kind))
    texts = dict(
        zip(prepared.dataset.items["item_id"], whole_sentences(prepared.dataset.items, COLUMNS, "item: "), strict=True)
    )
    log = prepared.dataset.interactions.filter(pl.Series(prepared.split.parts == TRAIN))
    allowed = {item for item in log["item_id"] if texts[item] is not None}
    ids = prepared.items.ids
    assert set(ids.gather(source.items)) == allowed
    near, searched = (
        _near(prepared, 3),
        {(str(one).strip(), item) for one, item in log.select("query", "item_id").rows()},
    )
    for epoch in range(5):
        pairs = source.draw([7, epoch])
        items = ids.gather(pairs.items).to_list()
        anchors = [None if row < 0 else ids[int(row)] for row in pairs.anchor_items]
        assert len(pairs) == len(pairs.anchors) == len(pairs.positives) == len(items) > 0
        assert set(items) | set(anchors) - {None} <= allowed
        for anchor, item, asks, tells in zip(anchors, items, pairs.anchors, pairs.positives, strict=True):
            if kind == "co-engagement":
                assert anchor != item and frozenset((anchor, item)) in near
                assert (asks, tells) == (texts[anchor], texts[item])
            elif kind == "query":
                assert anchor is None and asks and (asks, item) in searched
                assert tells == texts[item]
            else:
                assert anchor == item
                assert tells.startswith("item: ") and not asks.startswith("item: ")
                assert all(word in texts[item] for word in (asks, tells.removeprefix("item: ").partition(": ")[0]))


@pytest.mark.parametrize("window", [1, 2, 5])
def test_together_is_what_was_taken_near_each_other(window: int) -> None:
    prepared = _prepared()
    source = PairSource(prepared, COLUMNS, "", PairsConfig(kind="cloze", window=window))
    near, ids = _near(prepared, window), prepared.items.ids.to_list()
    rows = np.arange(-1, len(ids))
    found = source.together(rows[:, None], rows[None, 1:])
    for row, of_row in zip(rows, found, strict=True):
        for other, together in enumerate(of_row):
            expected = row >= 0 and (row == other or frozenset((ids[row], ids[other])) in near)
            assert together == expected
    assert (found[1:] == found[1:].T).all()
    assert source.together(np.array([3, -1]), np.array([3, -1])).tolist() == [True, False]


def test_each_item_that_others_follow_is_in_a_pair() -> None:
    prepared = _prepared()
    source = PairSource(prepared, COLUMNS, "", PairsConfig(window=1))
    following = [pair for history in _histories(prepared) for pair in pairwise(history)]
    expected = sorted(tuple(sorted(pair)) for pair in following if pair[0] != pair[1])
    drawn = source.draw(3)
    ids = prepared.items.ids
    pairs = list(zip(ids.gather(drawn.anchor_items), ids.gather(drawn.items), strict=True))
    assert sorted(tuple(sorted(pair)) for pair in pairs) == expected
    forward = sum(pair in following for pair in pairs)
    assert 0 < forward < len(pairs)  # either is the anchor


def test_all_places_of_a_window_are_drawn_alike() -> None:
    log = pl.DataFrame({"user_id": [1] * 4 + [2] * 4, "item_id": [0, 1, 2, 3, 3, 2, 1, 0], "timestamp": range(8)})
    items = pl.DataFrame({"item_id": [0, 1, 2, 3], "title": list("abcd")})
    dataset = Dataset.construct("x", log, items)
    split = make_split("random", dataset, train=0.99, validation=0.0)
    source = PairSource(Prepared.of(dataset, split), ["title"], "", PairsConfig(window=3))
    drawn = [source.draw(seed) for seed in range(400)]
    assert {len(one) for one in drawn} == {6}
    times = np.zeros((4, 4))
    for one in drawn:
        np.add.at(times, (one.anchor_items, one.items), 1)
    # of the first, each of the three that follow; of the next, two; of the third, the last: by both users
    share = np.array([[0, 1 / 3, 1 / 3, 1 / 3], [0, 0, 1 / 2, 1 / 2], [0, 0, 0, 1], [0] * 4]) * 400
    np.testing.assert_allclose(times, (share + share.T + (share + share.T)[::-1, ::-1]) / 2, atol=60)
    assert (times.diagonal() == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_draws_are_repeatable_and_epochs_differ(kind: str) -> None:
    source, again = (PairSource(_prepared(), COLUMNS, "", PairsConfig(kind=kind)) for _ in range(2))
    first, same, other = source.draw([1, 0]), again.draw([1, 0]), source.draw([1, 1])
    assert (first.anchors, first.positives) == (same.anchors, same.positives)
    assert first.items.tolist() == same.items.tolist() and first.anchor_items.tolist() == same.anchor_items.tolist()
    assert (first.anchors, first.positives) != (other.anchors, other.positives)


@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_may_have_fewer_pairs(kind: str) -> None:
    source = PairSource(_prepared(), COLUMNS, "", PairsConfig(kind=kind, per_epoch=5))
    drawn = [source.draw(seed) for seed in range(3)]
    assert {len(one) for one in drawn} == {5}
    assert len({tuple(one.items) for one in drawn}) == 3
    everything = PairSource(_prepared(), COLUMNS, "", PairsConfig(kind=kind, per_epoch=10**6)).draw(0)
    assert len(everything) == len(PairSource(_prepared(), COLUMNS, "", PairsConfig(kind=kind)).draw(0)) > 5


def test_attributes_ask_with_some_columns_and_tell_of_the_others() -> None:
    source = PairSource(_prepared(), COLUMNS, "item: ", PairsConfig(kind="attributes", anchor_columns=("brand",)))
    pairs = source.draw(0)
    assert all(one.startswith("brand: ") for one in pairs.anchors)
    assert all(one.startswith("item: title: ") for one in pairs.positives)
    assert len(set(pairs.items.tolist())) == len(pairs)


def test_a_part_of_a_text_and_the_rest_of_it() -> None:
    items = pl.DataFrame(
        {
            "item_id": [0, 1, 2, 3],
            "title": ["Rose soap", "Ink", "one two three four five six", "Pen"],
            "brand": ["Ada: hand made", None, None, "Bob; and sons"],
        }
    )
    log = pl.DataFrame({"user_id": [1, 1, 1, 1], "item_id": [0, 1, 2, 3], "timestamp": [0, 1, 2, 3]})
    dataset = Dataset.construct("x", log, items)
    split = make_split("random", dataset, train=0.99, validation=0.0)
    source = PairSource(Prepared.of(dataset, split), COLUMNS, "item: ", PairsConfig(kind="cloze"))
    found: dict[int, set[tuple[str, str]]] = {}
    for seed in range(60):
        pairs = source.draw(seed)
        for item, asks, tells in zip(pairs.items.tolist(), pairs.anchors, pairs.positives, strict=True):
            found.setdefault(item, set()).add((asks, tells))
    assert found[0] == {("Rose soap", "item: brand: Ada: hand made"), ("Ada: hand made", "item: title: Rose soap")}
    assert 1 not in found  # a single word has no rest
    words = ["one", "two", "three", "four", "five", "six"]
    assert found[2] == {
        (" ".join(words[n : n + 2]), f"item: title: {' '.join(words[:n] + words[n + 2 :])}") for n in range(5)
    }
    assert ("and sons", "item: title: Pen; brand: Bob") in found[3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "guess"}, "pairs.kind is 'guess', not one of co-engagement, query, attributes, cloze"),
        ({"window": 0}, "pairs.window is at least 1, got 0"),
        ({"per_epoch": -1}, "pairs.per_epoch is 0 or more, got -1"),
        ({"kind": "query", "query_column": "asked"}, "pairs.query_column is 'asked', which the interactions lack"),
        ({"kind": "query", "query_column": "timestamp"}, "'timestamp', which holds Int64, not strings"),
        ({"kind": "attributes", "anchor_columns": ("price",)}, "names 'price', which text.columns lacks: title, brand"),
        ({"kind": "attributes", "anchor_columns": COLUMNS}, r"some of the text.columns \(title, brand\), and not all"),
        ({"kind": "attributes", "anchor_columns": ()}, r"some of the text.columns \(title, brand\), and not all"),
    ],
)
def test_what_cannot_be_paired_is_told(settings, message: str) -> None:
    with pytest.raises(InputError, match=message):
        PairSource(_prepared(), COLUMNS, "", PairsConfig(**settings))


@pytest.mark.parametrize("kind", KINDS)
def test_data_without_pairs_is_told(kind: str) -> None:
    log = pl.DataFrame({"user_id": [1, 2, 3], "item_id": [1, 1, 1], "timestamp": [1, 2, 3], "query": [None, "", " "]})
    items = pl.DataFrame({"item_id": [1], "title": ["Ink"], "brand": pl.Series([None], dtype=pl.String)})
    dataset = Dataset.construct("lonely", log, items)
    prepared = Prepared.of(dataset, make_split("random", dataset, train=0.99, validation=0.0))
    with pytest.raises(InputError, match=f"the data set 'lonely' has no pairs of the kind '{kind}'"):
        PairSource(prepared, COLUMNS, "", PairsConfig(kind=kind))
    with pytest.raises(InputError, match=r"text\.columns names 'colour'"):
        PairSource(prepared, ["colour"], "", PairsConfig(kind=kind))
