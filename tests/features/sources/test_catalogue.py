"""The generated shop: exact sizes, one seed one shop, and an optimum that is one."""

import time

import numpy as np
import polars as pl
import pytest

from features.errors import InputError
from features.sources import load
from features.sources.catalogue import generate
from features.sources.planted import Planted
from features.sources.shop import words
from features.splits import TEST, TRAIN, make_split


@pytest.fixture(scope="module")
def shop():
    return generate(interactions=50_000, seed=3)


def test_sizes_are_exact_and_nobody_takes_an_item_twice(shop) -> None:
    dataset, _ = shop
    log = dataset.interactions
    assert log.height == 50_000
    assert log.select("user_id", "item_id").n_unique() == 50_000
    assert (dataset.users.height, dataset.items.height) == (2_000, 1_414)
    assert dataset.orphans == 0
    assert log["timestamp"].is_sorted()


def test_one_seed_is_one_shop() -> None:
    one, again, other = (generate(1000, seed=seed) for seed in (1, 1, 2))
    assert one[0].sha256 == again[0].sha256 != other[0].sha256
    users = one[0].users["user_id"]
    assert (one[1].scores(users) == again[1].scores(users)).all()


def test_a_hundred_thousand_take_a_moment() -> None:
    began = time.process_time()
    generate(100_000)
    assert time.process_time() - began < 3


@pytest.mark.parametrize("sizes", [{}, {"users": 30, "items": 2000}, {"users": 900, "items": 32}])
def test_small_shops_can_have_odd_sizes(sizes: dict) -> None:
    dataset, planted = generate(1000, **sizes)
    assert dataset.interactions.height == 1000
    assert planted.scores(dataset.users["user_id"]).sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_there_is_a_long_tail_and_items_that_were_never_sold(shop) -> None:
    dataset, planted = shop
    counts = dataset.interactions["item_id"].value_counts()["count"].sort(descending=True).to_numpy()
    assert counts[: len(counts) // 5].sum() > 0.45 * counts.sum()
    unsold = dataset.items.filter(~pl.col("item_id").is_in(dataset.interactions["item_id"].unique().to_list()))
    assert unsold.height >= round(0.03 * 1_414)
    never = planted.scores(dataset.users["user_id"]).max(axis=0) == 0
    assert never.sum() == round(0.03 * 1_414)
    assert set(planted.items.filter(pl.Series(never))) <= set(unsold["item_id"])


def test_titles_read_like_a_shop_and_are_distinct(shop) -> None:
    items = shop[0].items
    assert items["title"].n_unique() == items.height
    assert items["title"].str.contains(r"^[A-Z][a-z-]+ [a-z-]+ [a-zA-Z' -]+, [a-zA-Z' -]+$").all()
    assert set(items["category"]) <= set(words()["departments"])
    product = "|".join(one for line in words()["departments"]["tea"]["lines"] for one in line["products"])
    assert items.filter(category="tea")["title"].str.contains(product).all()


def test_more_items_than_titles_are_numbered() -> None:
    titles = generate(1000, items=175_000)[0].items["title"]
    assert titles.n_unique() == 175_000
    assert titles.str.ends_with(", no. 2").any()


def test_all_lines_of_the_shop_have_as_many_words() -> None:
    lines = [line for department in words()["departments"].values() for line in department["lines"]]
    sizes = {(len(line["products"]), len(line["materials"]), len(line["details"])) for line in lines}
    assert sizes == {(7, 5, 5)}
    assert len(lines) == 2 * len(words()["departments"])


def test_interactions_follow_the_planted_probabilities(shop) -> None:
    """Of each department and style, as many interactions as planted: a chi-square test over (users, department)."""
    dataset, planted = shop
    users = planted.users
    expected = planted.interests(users)  # (U, topics)
    rows = np.searchsorted(users.to_numpy(), dataset.interactions["user_id"].to_numpy())
    items = np.searchsorted(planted.items.to_numpy(), dataset.interactions["item_id"].to_numpy())
    counts = np.bincount(rows, minlength=len(users))
    main = expected.argmax(axis=1)
    hits = np.bincount(rows, weights=planted.topic[items] == main[rows], minlength=len(users))
    few = counts < 25  # who takes more runs out of items in a department
    share = hits[few].sum() / counts[few].sum()
    wanted = (expected.max(axis=1)[few] * counts[few]).sum() / counts[few].sum()
    assert share == pytest.approx(wanted, abs=0.06)


def test_the_optimum_beats_every_other_ranking(shop) -> None:
    """Its hit rate is well above popularity's, above that of better-informed guesses, and above a spoilt optimum's."""
    dataset, planted = shop
    split = make_split("random", dataset)
    users = planted.users
    rows = np.searchsorted(users.to_numpy(), dataset.interactions["user_id"].to_numpy())
    items = np.searchsorted(planted.items.to_numpy(), dataset.interactions["item_id"].to_numpy())
    train, test = split.parts == TRAIN, split.parts == TEST
    optimum = planted.scores(users)
    popularity = np.bincount(items[train], minlength=len(planted.items)).astype(float)

    def hit_rate(scores: np.ndarray) -> float:
        scores = np.array(scores)
        scores[rows[train], items[train]] = -np.inf
        top = np.argpartition(-scores, 10, axis=1)[:, :10]
        return float((top[rows[test]] == items[test, None]).any(axis=1).mean())

    best = hit_rate(optimum)
    assert best > 5 * hit_rate(np.tile(popularity, (len(users), 1)))
    departments = planted.interests(users)[:, planted.topic] * popularity  # knows departments, not styles
    assert best > 1.3 * hit_rate(departments)
    noise = np.random.default_rng(0).lognormal(0, 0.5, optimum.shape)
    assert best > 1.02 * hit_rate(optimum * noise)


def test_interests_drift_in_a_straight_line(shop) -> None:
    _, planted = shop
    first, middle, last = (planted.interests(planted.users, at) for at in (0.0, 0.5, 1.0))
    assert middle == pytest.approx((first + last) / 2)
    assert 0.1 < np.abs(first - last).sum(axis=1).mean() / 2 < 0.5
    with pytest.raises(InputError, match="got 2"):
        planted.scores(planted.users, at=2)


def test_strangers_get_popularity(shop) -> None:
    _, planted = shop
    scores = planted.scores(["nobody", planted.users[0]])
    assert scores.shape == (2, 1_414)
    assert scores[0] == pytest.approx(planted.popularity)
    assert scores[1] != pytest.approx(planted.popularity)


def test_models_cannot_read_the_plan(shop) -> None:
    """What decides (style, interests) is no column; what is, says something and not all."""
    dataset, planted = shop
    assert dataset.users.columns == ["user_id", "age_group", "region", "household"]
    assert dataset.items.columns == ["item_id", "title", "category", "brand", "tags", "price"]
    mean = pl.DataFrame({"age": dataset.users["age_group"], "likes": planted.interests(planted.users)[:, 0]})
    by_age = mean.group_by("age").agg(pl.col("likes").mean())["likes"]
    assert by_age.max() > 1.5 * by_age.min()


def test_the_plan_is_saved_aside(shop, tmp_path) -> None:
    _, planted = shop
    planted.save(tmp_path / "planted.npz")
    again = Planted.load(tmp_path / "planted.npz")
    assert (again.scores(planted.users[:50]) == planted.scores(planted.users[:50])).all()
    assert again.departments.to_list() == planted.departments.to_list()
    assert [one.name for one in tmp_path.iterdir()] == ["planted.npz"]
    (tmp_path / "planted.npz").write_bytes(b"no")
    with pytest.raises(InputError, match="holds no planted optimum"):
        Planted.load(tmp_path / "planted.npz")


def test_ids_can_be_integers() -> None:
    dataset = load("generated", interactions=1000, integer_ids=True)
    assert dataset.interactions["item_id"].dtype == pl.Int64
    assert load("generated", interactions=1000).users["user_id"].head(2).to_list() == ["u00000", "u00001"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"interactions": 10}, "has 1,000 to 10,000,000 interactions, not 10"),
        ({"interactions": 10**9}, "not 1,000,000,000"),
        ({"users": 10}, "100,000 interactions need more than 10 users with 2,000 items"),
        ({"interaction": 1}, "the source 'generated' has no setting 'interaction'; it has interactions, users"),
    ],
)
def test_impossible_shops_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load("generated", **settings)


def test_unknown_sources_are_told_with_the_known_ones(tmp_path) -> None:
    with pytest.raises(InputError, match="no data source 'ml-2m'; the sources are generated, ml-1m, tables, sequences"):
        load("ml-2m")
    with pytest.raises(InputError, match="takes no root"):
        load("generated", tmp_path)
