"""The look-ups: both kinds of table, unknown ids, and plain torch against TorchRec."""

import re

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from features.batches import Jagged
from features.errors import InputError
from features.vocabulary import Vocabulary
from recsys.embeddings import EmbeddingPlan, Embeddings, FeatureLookup
from recsys.embeddings.plan import KINDS

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


def _of_rows(rows: int) -> str:
    """The budget of a table with so many rows of width 4."""
    return f"{rows * 4 * 4}B"


def _built(kind: str, backend: str = "torch", **plan) -> Embeddings:
    torch.manual_seed(0)
    return Embeddings(EmbeddingPlan(kind=kind, width=8, **plan), LOOKUPS, VOCABULARIES, backend).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_a_feature_is_the_pooled_sum_of_its_rows(kind: str) -> None:
    embed = _built(kind)
    history = [[0, 1, 2, 3], [], [2, 2]]
    single = embed({"item_id": _jagged([[0], [1], [2], [3]])})["item_id"]
    pooled = embed({"history": _jagged(history)})["history"]
    for row, items in enumerate(history):
        expected = sum((single[item] for item in items), torch.zeros(8)) / max(1, len(items)) ** 0.5
        torch.testing.assert_close(pooled[row], expected)


@pytest.mark.parametrize("kind", KINDS)
def test_features_of_one_identity_share_rows(kind: str) -> None:
    embed = _built(kind)
    out = embed({"item_id": _jagged([[1]]), "history": _jagged([[1]])})
    torch.testing.assert_close(out["item_id"], out["history"])


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_ids_share_one_learned_vector_that_is_nobody_elses(kind: str) -> None:
    embed = _built(kind, budget=_of_rows(997 * 2)) if kind != "collisionless" else _built(kind)
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


@pytest.mark.parametrize("kind", KINDS)
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
    embed = _built("multiplexed", budget=_of_rows(10_007))
    other = Embeddings(
        EmbeddingPlan(kind="multiplexed", width=8, budget=_of_rows(10_007)),
        LOOKUPS,
        {**VOCABULARIES, "item_id": Vocabulary("item_id", VOCABULARIES["item_id"].ids.reverse())},
    )
    ours = embed.addresses("item_id", torch.arange(4))
    theirs = other.addresses("item_id", torch.arange(4).flip(0))
    assert [one.tolist() for one in ours] == [one.tolist() for one in theirs]


def test_look_ups_and_features_are_salted_apart() -> None:
    ids = pl.Series(range(500))
    same = {"item_id": Vocabulary("item_id", ids), "genres": Vocabulary("genres", ids)}
    embed = Embeddings(EmbeddingPlan(kind="multiplexed", width=8, budget=_of_rows(1_000_003)), LOOKUPS, same)
    rows = torch.arange(500)
    addresses = [*embed.addresses("item_id", rows), *embed.addresses("genres", rows)]
    for one in range(len(addresses)):
        for another in range(one):
            assert (addresses[one] == addresses[another]).sum() <= 3


def test_the_budget_is_kept() -> None:
    collisionless = _built("collisionless").layout.parameters
    for kind in ("hashed", "multiplexed"):
        for budget in (1.0, 0.5):
            assert abs(_built(kind, budget=budget).layout.parameters - budget * collisionless) <= 8
        assert abs(_built(kind, budget="1.6kB").layout.parameters - 400) <= 8
    assert len(list(_built("multiplexed").parameters())) == 1
    assert len(list(_built("hashed").parameters())) == 2
    three = _built("multiplexed", budget="1.2kB", tables=3)
    assert [table.rows for table in three.layout.tables] == [25, 25, 25]


@pytest.mark.parametrize("budget", ["lots", "1.6 Mb", "-3MB", "0MB", 0.0, -1.0, float("nan")])
def test_a_budget_that_is_none_is_refused(budget: float | str) -> None:
    with pytest.raises(InputError, match=r"model\.embeddings\.budget is a positive number, or a size"):
        EmbeddingPlan(budget=budget)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", ["torch", "torchrec"])
def test_features_have_the_widths_that_are_declared(kind: str, backend: str) -> None:
    embed = _built(kind, backend, widths={"genres": 12}, tables=2, lookups=2)
    out = embed({"item_id": _jagged([[1], [2]]), "genres": _jagged([[0, 2], []]), "history": _jagged([[1], []])})
    assert {name: tuple(vectors.shape) for name, vectors in out.items()} == {
        "item_id": (2, 8),
        "genres": (2, 12),
        "history": (2, 8),
    }
    assert embed.widths == {"item_id": 8, "genres": 12, "history": 8}
    assert out["genres"][1].abs().sum() == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", ["torch", "torchrec"])
@pytest.mark.parametrize("features", [["item_id", "genres", "history"], ["history", "item_id"], ["item_id"]])
def test_joined_is_the_features_side_by_side(kind: str, backend: str, features: list[str]) -> None:
    embed = _built(kind, backend, widths={"genres": 12}, tables=2, lookups=2)
    batches = {
        "item_id": _jagged([[1], [2], [-1]]),
        "genres": _jagged([[0, 2], [], [1]]),
        "history": _jagged([[1], [], [3, 3, 0, 2]]),
    }
    sparse = {name: batches[name] for name in features}
    weights = torch.randn(sum(embed.widths[name] for name in features))
    gradients = []
    for out in (embed.joined(sparse), torch.cat([embed(sparse)[name] for name in features], dim=1)):
        embed.zero_grad()
        (out * weights).sum().backward()
        gradients.append([weight.grad.clone() for weight in embed.parameters() if weight.grad is not None])
    torch.testing.assert_close(embed.joined(sparse), torch.cat(list(embed(sparse).values()), dim=1))
    torch.testing.assert_close(*gradients)
    assert embed.joined({name: _jagged([]) for name in features}).shape == (0, len(weights))


def test_look_ups_go_round_robin_over_the_back_end_tables() -> None:
    embed = _built("multiplexed", widths={"genres": 12}, tables=2)
    first, second = embed.layout.tables
    assert first.bags == ("item_id/0", "genres/0", "genres/2", "history/0")
    assert second.bags == ("item_id/1", "genres/1", "history/1")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"widths": {"genres": 10}}, "widths.genres is 10, not a multiple of the rows' width 4"),
        ({"widths": {"colour": 12}}, "widths names 'colour', which is no embedded feature"),
        ({"widths": {"history": 12}}, "widths.history is 12, but 'history' has the vectors of 'item_id'"),
        ({"kind": "hash"}, "embeddings.kind is 'hash', not one of collisionless, hashed, multiplexed"),
        ({"lookups": 3}, "width 8 is not a multiple of model.embeddings.lookups 3"),
        ({"tables": 0}, "embeddings.tables is at least 1, got 0"),
        ({"tables": 7}, "model.embeddings.tables is 7, and this model has only 4 look-ups"),
        ({"budget": "1B"}, "model.embeddings.budget '1B' makes 0 rows of 16 bytes a table"),
        ({"budget": "900TB"}, "at most 2,147,483,647"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        _built(**{"kind": "multiplexed", **settings})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", ["torch", "torchrec"])
def test_one_table_serves_pooled_and_sequence_look_ups(kind: str, backend: str) -> None:
    lookups = [*LOOKUPS, FeatureLookup("recent", "item_id", "none", unknowns=False)]
    torch.manual_seed(0)
    embed = Embeddings(EmbeddingPlan(kind=kind, width=8), lookups, VOCABULARIES, backend).eval()
    rows = [[3, 0], [], [2, 2, 1]]
    out = embed({"recent": _jagged(rows), "history": _jagged(rows), "genres": _jagged([[0, 1], [2], []])})
    assert out["recent"].shape == (5, 8)  # a vector a value
    pooled = torch.stack([one.sum(0) / max(1, len(one)) ** 0.5 for one in out["recent"].split([2, 0, 3])])
    torch.testing.assert_close(out["history"], pooled)
    single = embed({"genres": _jagged([[0], [1], [2]])})["genres"]
    torch.testing.assert_close(out["genres"], torch.stack([single[:2].mean(0), single[2], torch.zeros(8)]))
    names = set(embed.state_dict())
    assert f"tables.sequence.embeddings.{'unified' if kind == 'multiplexed' else 'item_id'}.weight" in names


def test_a_deferred_collection_takes_no_memory() -> None:
    embed = _built("multiplexed", "sharded", budget="40GB", tables=2)
    assert {weight.device.type for weight in embed.parameters()} == {"meta"}
    assert set(embed.state_dict()) == {f"tables.pooled.embedding_bags.unified_{n}.weight" for n in range(2)}
