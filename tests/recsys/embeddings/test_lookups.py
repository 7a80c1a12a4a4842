"""The look-ups: both kinds of table, unknown ids, and plain torch against TorchRec."""

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from features.batches import Jagged
from features.errors import InputError
from features.vocabulary import Vocabulary
from recsys.embeddings import EmbeddingPlan, Embeddings, FeatureLookup

LOOKUPS = [
    FeatureLookup("item_id", "item_id"),
    FeatureLookup("genres", "genres", "mean"),
    FeatureLookup("history", "item_id", "sqrt", unknowns=False),
]
VOCABULARIES = {
    "item_id": Vocabulary("item_id", pl.Series([5, -7, 2**60, 11])),
    "genres": Vocabulary("genres", pl.Series([1, 2, 3])),
}


def _jagged(rows: list[list[int]]) -> Jagged:
    return Jagged(
        torch.tensor([value for row in rows for value in row], dtype=torch.int64),
        torch.tensor([len(row) for row in rows], dtype=torch.int64),
    )


def _built(kind: str, backend: str = "torch", **plan) -> Embeddings:
    torch.manual_seed(0)
    return Embeddings(EmbeddingPlan(kind=kind, width=8, **plan), LOOKUPS, VOCABULARIES, backend).eval()


@pytest.mark.parametrize("kind", ["collisionless", "multiplexed"])
def test_a_feature_is_the_pooled_sum_of_its_rows(kind: str) -> None:
    embed = _built(kind)
    history = [[0, 1, 2, 3], [], [2, 2]]
    single = embed({"item_id": _jagged([[0], [1], [2], [3]])})["item_id"]
    pooled = embed({"history": _jagged(history)})["history"]
    for row, items in enumerate(history):
        expected = sum((single[item] for item in items), torch.zeros(8)) / max(1, len(items)) ** 0.5
        torch.testing.assert_close(pooled[row], expected)


@pytest.mark.parametrize("kind", ["collisionless", "multiplexed"])
def test_features_of_one_identity_share_rows(kind: str) -> None:
    embed = _built(kind)
    out = embed({"item_id": _jagged([[1]]), "history": _jagged([[1]])})
    torch.testing.assert_close(out["item_id"], out["history"])


@pytest.mark.parametrize("kind", ["collisionless", "multiplexed"])
def test_unknown_ids_share_one_learned_vector_that_is_nobody_elses(kind: str) -> None:
    embed = _built(kind, rows=997) if kind == "multiplexed" else _built(kind)
    vectors = embed({"item_id": _jagged([[-1], [-1], [0], [1], [2], [3]])})["item_id"]
    torch.testing.assert_close(vectors[0], vectors[1])
    assert not any(torch.equal(vectors[0], vectors[row]) for row in range(2, 6))
    embed({"item_id": _jagged([[-1]])})["item_id"].sum().backward()
    assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in embed.parameters())


def test_training_replaces_the_declared_share_of_ids_but_leaves_histories() -> None:
    embed = _built("collisionless", unknown_rate=0.25).train()
    torch.manual_seed(3)
    n = 8_000
    vectors = embed({"item_id": _jagged([[0]] * n), "history": _jagged([[0]] * n)})
    default = embed.eval()({"item_id": _jagged([[-1]])})["item_id"]
    share = (vectors["item_id"] == default).all(1).float().mean().item()
    assert 0.22 < share < 0.28
    assert not (vectors["history"] == default).all(1).any()


@pytest.mark.parametrize("kind", ["collisionless", "multiplexed"])
@given(st.lists(st.lists(st.integers(-1, 3), max_size=5), min_size=1, max_size=6))
@settings(max_examples=15, deadline=None)
def test_torchrec_gives_the_same_from_the_same_weights(kind: str, history: list[list[int]]) -> None:
    plain, torchrec = _built(kind), _built(kind, "torchrec")
    assert list(plain.state_dict()) == list(torchrec.state_dict())
    torchrec.load_state_dict(plain.state_dict())
    items = _jagged([[row % 4] for row in range(len(history))])
    sparse = {"item_id": items, "history": _jagged(history)}  # "genres" is left out: the other tower's
    expected, got = plain(sparse), torchrec(sparse)
    for feature in sparse:
        torch.testing.assert_close(got[feature], expected[feature])
        plain.zero_grad()


def test_addresses_follow_the_raw_id_not_its_row() -> None:
    embed = _built("multiplexed", rows=10_007)
    other = Embeddings(
        EmbeddingPlan(kind="multiplexed", width=8, rows=10_007),
        LOOKUPS,
        {**VOCABULARIES, "item_id": Vocabulary("item_id", VOCABULARIES["item_id"].ids.reverse())},
    )
    ours = embed.addresses("item_id", torch.arange(4))
    theirs = other.addresses("item_id", torch.arange(4).flip(0))
    assert [one.tolist() for one in ours] == [one.tolist() for one in theirs]


def test_look_ups_and_features_are_salted_apart() -> None:
    ids = pl.Series(range(500))
    same = {"item_id": Vocabulary("item_id", ids), "genres": Vocabulary("genres", ids)}
    embed = Embeddings(EmbeddingPlan(kind="multiplexed", width=8, rows=1_000_003), LOOKUPS, same)
    rows = torch.arange(500)
    addresses = [*embed.addresses("item_id", rows), *embed.addresses("genres", rows)]
    for one in range(len(addresses)):
        for another in range(one):
            assert (addresses[one] == addresses[another]).sum() <= 3


def test_the_budget_is_kept() -> None:
    collisionless = sum(weight.numel() for weight in _built("collisionless").parameters())
    for budget in (1.0, 0.5):
        multiplexed = sum(weight.numel() for weight in _built("multiplexed", budget=budget).parameters())
        assert abs(multiplexed - budget * collisionless) <= 8
    assert len(list(_built("multiplexed").parameters())) == 1


def test_weights_start_uniform_in_the_declared_range() -> None:
    for backend in ("torch", "torchrec"):
        for weight in _built("collisionless", backend, initial_range=0.02).parameters():
            assert 0.01 < weight.abs().max().item() <= 0.02


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"kind": "hashed"}, "kind"),
        ({"width": 0}, "width"),
        ({"width": 10, "lookups": 3}, "multiple"),
        ({"budget": 0}, "budget"),
        ({"unknown_rate": 1.0}, "unknown_rate"),
    ],
)
def test_wrong_settings_are_named(setting: dict, named: str) -> None:
    with pytest.raises(InputError, match=named):
        EmbeddingPlan(**setting)
