import numpy as np
import pytest

from features.batches import JaggedArray
from features.errors import InputError
from recsys.index import IndexConfig
from recsys.interests import ClustersConfig, InterestsConfig, KNNEmbed

GROUPS, EACH, D = 4, 10, 6


@pytest.fixture
def items(rng) -> np.ndarray:
    """Four kinds of items."""
    centres = np.eye(GROUPS, D).repeat(EACH, axis=0)
    return (centres + rng.normal(0, 0.05, centres.shape)).astype(np.float32)


def jagged(rows: list[list[int]]) -> JaggedArray:
    return JaggedArray(
        np.array([one for row in rows for one in row], np.int64), np.cumsum([0, *map(len, rows)]).astype(np.int64)
    )


#: two users of two kinds of items, one of one, and one who has had nothing
HISTORIES = jagged([[0, 1, 10, 11], [2, 3, 12, 20], [30, 31], []])


def vectors_of(items: np.ndarray, histories: JaggedArray) -> np.ndarray:
    return np.stack(
        [items[histories.row(n)].mean(axis=0) if histories.lengths[n] else items[0] for n in range(len(histories))]
    )


def fitted(items: np.ndarray, **settings) -> KNNEmbed:
    config = InterestsConfig(clusters=ClustersConfig(clusters=GROUPS), **{"depth": 1, **settings})
    return KNNEmbed.fit(items, HISTORIES, vectors_of(items, HISTORIES), config)


def test_a_list_has_something_of_every_interest(items):
    users = vectors_of(items, HISTORIES)
    users[3] = 0
    found = fitted(items).retrieve("mixture", HISTORIES, users, 8, HISTORIES).rows
    kinds = [np.bincount(row[row >= 0] // EACH, minlength=GROUPS).tolist() for row in found]
    assert kinds[:3] == [[4, 4, 0, 0], [4, 2, 2, 0], [0, 0, 0, 8]]
    assert (found[3] == -1).all()


def test_a_user_without_interests_asks_with_the_vector_that_the_model_makes(items):
    users = vectors_of(items, HISTORIES)
    one, plain = (fitted(items).retrieve(kind, HISTORIES, users, 8) for kind in ("mixture", "unimodal"))
    assert one.rows[3].tolist() == plain.rows[3].tolist() and (one.rows[0] != plain.rows[0]).any()


def test_an_interest_is_named_by_the_latest_own_item_or_by_one_of_the_most_similar_user(items):
    users = vectors_of(items, HISTORIES)
    mixtures = fitted(items, neighbours=1).mixtures("smoothed", HISTORIES, users, np.arange(4))
    first = slice(*mixtures.offsets[:2])
    assert mixtures.examples[first].tolist() == [1, 11, 20] and mixtures.own[first].tolist() == [True, True, False]


def test_neighbours_bring_what_a_user_has_none_of(items):
    """User 0 is most like user 1, who has had something of the third kind: (1/2, 1/2, 0) and (1/2, 1/4, 1/4)."""
    users, knn_embed = vectors_of(items, HISTORIES), fitted(items, neighbours=1)
    mixtures = knn_embed.mixtures("smoothed", HISTORIES, users, np.arange(4))
    assert mixtures.weights[: mixtures.offsets[1]].tolist() == pytest.approx([0.5, 0.375, 0.125])
    found = knn_embed.retrieve("smoothed", HISTORIES, users, 16, HISTORIES, np.arange(4)).rows
    assert np.bincount(found[0] // EACH, minlength=GROUPS).tolist() == [8, 6, 2, 0]


def test_a_user_with_nothing_is_what_the_neighbours_are(items):
    users = vectors_of(items, HISTORIES)
    mixtures = fitted(items, neighbours=1).mixtures("smoothed", jagged([[]]), users[2:3])
    assert mixtures.weights.tolist() == [1.0]
    np.testing.assert_allclose(mixtures.vectors[0], items[[30, 31]].mean(axis=0), rtol=1e-5)


def test_unimodal_is_a_search_by_the_users_own_vector(items):
    users, knn_embed = vectors_of(items, HISTORIES), fitted(items)
    found = knn_embed.retrieve("unimodal", HISTORIES, users, 7, HISTORIES).rows
    assert np.array_equal(found, knn_embed.index.search(users, 7, HISTORIES)[1])


def test_candidates_come_in_the_order_of_the_users_own_vector_or_of_the_weights(items):
    users = vectors_of(items, HISTORIES)
    users[1] = 0  # of whom the model makes nothing
    asked = ("mixture", HISTORIES, users, 8, HISTORIES)
    by_user, by_weight = (fitted(items, order=order).retrieve(*asked) for order in ("user", "weight"))
    for n in (0, 2):
        expected = dict(zip(by_weight.rows[n].tolist(), by_weight.components[n].tolist(), strict=True))
        assert dict(zip(by_user.rows[n].tolist(), by_user.components[n].tolist(), strict=True)) == expected
        np.testing.assert_allclose(by_user.scores[n], items[by_user.rows[n]] @ users[n], rtol=1e-5)
        assert (np.diff(by_user.scores[n]) <= 0).all()
    assert by_user.rows[0].tolist() != by_weight.rows[0].tolist()
    assert by_user.rows[1].tolist() == by_weight.rows[1].tolist()
    assert by_user.scores[1].tolist() == by_weight.scores[1].tolist()


@pytest.mark.parametrize("order", ["user", "weight"])
def test_a_short_list_begins_a_longer_one(items, order):
    knn_embed, users = fitted(items, order=order, depth=12), vectors_of(items, HISTORIES)
    long = knn_embed.retrieve("mixture", HISTORIES, users, 12, HISTORIES)
    for k in (0, 1, 5):
        short = knn_embed.retrieve("mixture", HISTORIES, users, k, HISTORIES)
        for name in ("rows", "scores", "components"):
            assert np.array_equal(getattr(short, name), getattr(long, name)[:, :k])


@pytest.mark.parametrize("settings", [{"neighbours": 0}, {"mixing": 0.0}])
def test_without_neighbours_smoothing_changes_nothing(items, settings):
    users, knn_embed = vectors_of(items, HISTORIES), fitted(items, **settings)
    smoothed, plain = (knn_embed.retrieve(kind, HISTORIES, users, 9).rows for kind in ("smoothed", "mixture"))
    assert np.array_equal(smoothed, plain)


def test_an_item_bias_counts_for_every_component_as_it_does_for_the_user(items):
    """The last column is a bias, which users have 1 for; no cluster or mean is made of it."""
    bias = np.zeros((len(items), 1), np.float32)
    bias[5] = 100
    users = np.hstack([vectors_of(items, HISTORIES), np.ones((4, 1), np.float32)])
    config = InterestsConfig(clusters=ClustersConfig(clusters=GROUPS))
    knn_embed = KNNEmbed.fit(np.hstack([items, bias]), HISTORIES, users, config, width=D)
    mixtures = knn_embed.mixtures("mixture", HISTORIES, users)
    assert (mixtures.vectors[:, -1] == 1).all()
    assert (knn_embed.retrieve("mixture", HISTORIES, users, 3).rows[:3] == 5).any(axis=1).all()
    assert len(np.unique(knn_embed.clusters.of_item[:EACH])) == 1


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
@pytest.mark.parametrize("retriever", ["mixture", "smoothed"])
def test_what_a_user_is_given_does_not_depend_on_who_else_asks(rng, kind, retriever):
    items = rng.normal(size=(4000, 8)).astype(np.float32)
    histories = jagged([rng.choice(4000, 12, replace=False).tolist() for _ in range(60)])
    users = np.stack([items[histories.row(n)].mean(axis=0) for n in range(60)])
    config, index = InterestsConfig(clusters=ClustersConfig(clusters=20)), IndexConfig(kind=kind, probes=8)
    knn_embed = KNNEmbed.fit(items, histories, users, config, item_index=index)
    together = knn_embed.retrieve(retriever, histories, users, 50, histories, np.arange(60)).rows
    for user in range(60):
        one = np.array([user])
        alone = knn_embed.retrieve(retriever, histories.rows(one), users[one], 50, histories.rows(one), one).rows
        assert alone.tolist() == together[one].tolist()


def test_users_are_mixed_some_at_a_time_and_come_out_the_same(items, monkeypatch):
    users, knn_embed = vectors_of(items, HISTORIES), fitted(items, neighbours=2)
    whole = knn_embed.mixtures("smoothed", HISTORIES, users, np.arange(4))
    monkeypatch.setattr("recsys.interests.knn_embed._ENTRIES", 3)
    parts = knn_embed.mixtures("smoothed", HISTORIES, users, np.arange(4))
    for name in ("clusters", "weights", "vectors", "offsets", "examples", "own"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-6)


def test_whom_the_model_makes_nothing_of_is_like_those_who_have_had_alike(items):
    """Similar users are found by the mean of the history."""
    users, knn_embed = vectors_of(items, HISTORIES), fitted(items, neighbours=1)
    own, nothing = jagged([[32], []]), np.zeros((2, D), np.float32)
    found = knn_embed.mixtures("smoothed", own, nothing)
    assert found.offsets.tolist() == [0, 1, 1] and found.weights.tolist() == [1.0]
    np.testing.assert_allclose(found.vectors[0], items[32] / 2 + items[[30, 31]].mean(axis=0) / 2, rtol=1e-5)
    assert (knn_embed.retrieve("unimodal", own, nothing, 3).rows == -1).all()
    assert (users != 0).any()


def test_questions_that_do_not_fit(items):
    users, knn_embed = vectors_of(items, HISTORIES), fitted(items)
    with pytest.raises(InputError, match="one of unimodal, mixture, smoothed, got 'both'"):
        knn_embed.mixtures("both", HISTORIES, users)
    with pytest.raises(InputError, match="there are 3 vectors of users, and histories of 4"):
        knn_embed.retrieve("mixture", HISTORIES, users[:3], 5)
    with pytest.raises(InputError, match="k is 0 or more, got -1"):
        knn_embed.retrieve("mixture", HISTORIES, users, -1)
    with pytest.raises(InputError, match="there are 4 vectors of users, and seen of 1"):
        knn_embed.retrieve("mixture", HISTORIES, users, 5, seen=jagged([[1]]))
    with pytest.raises(InputError, match="user vectors hold a number that is not finite, first in row 1"):
        knn_embed.retrieve("mixture", HISTORIES, np.where(np.arange(4)[:, None] == 1, np.nan, users), 5)


def test_sides_that_do_not_fit(items):
    users, config = vectors_of(items, HISTORIES), InterestsConfig()
    with pytest.raises(InputError, match="4 histories of users and 3 vectors"):
        KNNEmbed.fit(items, HISTORIES, users[:3], config)
    with pytest.raises(InputError, match="vectors of 6 numbers and users of 5"):
        KNNEmbed.fit(items, HISTORIES, users[:, :5], config)
