"""Quantised tables against their definition: what a look-up gives, how far a number moves, what is refused."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from features.batches import Jagged
from features.errors import InputError
from features.vocabulary import Vocabulary
from recsys.embeddings import EmbeddingPlan, Embeddings, FeatureLookup
from recsys.embeddings.quantised import QuantisedTable, make_room, quantise_rows, quantised_state

LOOKUPS = [
    FeatureLookup("item_id", "item_id"),
    FeatureLookup("genres", "genres", "sqrt"),
    FeatureLookup("history", "item_id", "sum", unknowns=False),
]


def restored(state):
    """The definition, a number at a time in Python's own arithmetic."""
    if "scale" not in state:
        return [[float(one) for one in row] for row in state["weight"]]
    unit = float(state["unit"])
    return [
        [(code * float(scale) + float(offset)) * unit for code in row]
        for row, scale, offset in zip(state["weight"].tolist(), state["scale"], state["offset"], strict=True)
    ]


def table_of(weight, precision):
    table = QuantisedTable(*weight.shape, precision)
    table.load_state_dict(quantise_rows(weight, precision))
    return table


def model_of(plan, lookups=LOOKUPS):
    torch.manual_seed(0)
    vocabularies = {
        "item_id": Vocabulary.fit("item_id", pl.Series(range(50))),
        "genres": Vocabulary.fit("genres", pl.Series(["a", "b", "c"])),
    }
    return nn.ModuleDict({"embeddings": Embeddings(plan, lookups, vocabularies), "layer": nn.Linear(3, 2)}).eval()


def served(plan, model, precision, lookups=LOOKUPS):
    quantised = model_of(plan, lookups)
    make_room(quantised, precision)
    quantised.load_state_dict({name: one.clone() for name, one in quantised_state(model, precision).items()})
    return quantised


FEATURES = {
    "item_id": Jagged(torch.tensor([3, 49, -1, 3]), torch.tensor([1, 1, 1, 1])),
    "genres": Jagged(torch.tensor([0, 2, 1]), torch.tensor([2, 0, 1, 0])),
    "history": Jagged(torch.tensor([5, 6, 5, 0]), torch.tensor([0, 3, 1, 0])),
}


@pytest.mark.parametrize("kind", ["collisionless", "hashed", "multiplexed"])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("repeats", [1, 60])  # the second looks up more than the tables have rows
@pytest.mark.parametrize("pooling", ["sum", "none"])
def test_look_ups_are_those_of_the_restored_table(kind, precision, repeats, pooling):
    plan = EmbeddingPlan(kind=kind, width=8, initial_range=1.0)
    lookups = [*LOOKUPS[:2], FeatureLookup("history", "item_id", pooling, unknowns=False)]
    plain = model_of(plan, lookups)
    quantised = served(plan, plain, precision, lookups)
    with torch.no_grad():
        for name, weight in plain.state_dict().items():
            if name.startswith("embeddings.tables."):
                state = quantise_rows(weight, precision)
                weight.copy_(torch.tensor(restored(state)))
    features = {name: Jagged(one.values.repeat(repeats), one.lengths.repeat(repeats)) for name, one in FEATURES.items()}
    expected, found = plain["embeddings"](features), quantised["embeddings"](features)
    assert expected.keys() == found.keys()
    for name in expected:
        assert found[name].dtype == torch.float32
        torch.testing.assert_close(found[name], expected[name], rtol=1e-6, atol=1e-6)
    assert (found["genres"][1] == 0).all()  # a row without a value


numbers = st.floats(-(2.0**100), 2.0**100, width=32) | st.floats(-1, 1, width=32)


@settings(max_examples=80, deadline=None)
@given(weight=hnp.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 9)), elements=numbers))
def test_no_number_is_more_than_half_a_step_off(weight):
    weight = torch.from_numpy(weight)
    state = quantise_rows(weight, "int8")
    steps = state["scale"].double() * state["unit"].double()
    error = (torch.tensor(restored(state), dtype=torch.float64) - weight.double()).abs()
    assert (error <= steps[:, None] / 2 * (1 + 1e-12)).all()
    # and a step is no more than the row's range needs, save what fp16 rounds it up by
    spread = (weight.amax(1).double() - weight.amin(1).double()) / 255
    largest = weight.abs().amax(1).double()
    assert (steps <= spread * (1 + 2**-10) + largest * 2**-10 / 255 * 1.01 + 2**-23 * state["unit"].double()).all()
    if torch.isfinite(weight).all():
        table = table_of(weight, "int8")
        torch.testing.assert_close(table().double(), torch.tensor(restored(state), dtype=torch.float64))
        torch.testing.assert_close(table(torch.tensor([0])), table()[:1], rtol=0, atol=0)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_rows_of_one_value(precision):
    weight = torch.tensor([[0.0] * 4, [0.125] * 4, [-3.7] * 4])
    found = table_of(weight, precision)()
    assert (found[0] == 0).all()
    assert (found[1] == 0.125).all()
    torch.testing.assert_close(found, weight, rtol=2**-11, atol=0)
    assert (table_of(torch.zeros(2, 3), precision)() == 0).all()
    assert table_of(torch.zeros(0, 3), "fp16")().shape == (0, 3)


def test_it_is_as_small_as_promised():
    def size(state):
        return sum(one.numel() * one.element_size() for one in state.values())

    weight = torch.randn(1000, 32)
    assert size(quantise_rows(weight, "int8")) == 1000 * 36 + 4
    assert size(quantise_rows(weight, "fp16")) == 1000 * 64
    plan = EmbeddingPlan(kind="collisionless", width=64)
    model = served(plan, model_of(plan), "int8")
    table = model["embeddings"].tables.pooled.embedding_bags["item_id"]
    assert {one.dtype for one in (table.weight, table.scale, table.offset)} == {torch.uint8, torch.float16}
    assert not [name for name, _ in model["embeddings"].named_parameters()]  # nothing is kept in fp32 beside it


def test_other_weights_are_halved_and_fp32_is_left_alone():
    model = model_of(EmbeddingPlan(kind="collisionless", width=8))
    assert quantised_state(model, "int8")["layer.weight"].dtype == torch.float16
    state = quantised_state(model, "fp32")
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(one, model.state_dict()[name]) for name, one in state.items())
    before = model["embeddings"].tables
    make_room(model, "fp32")
    assert model["embeddings"].tables is before


@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (float("nan"), "row 7 holds nan, which is not finite"),
        (float("-inf"), "row 7 holds -inf, which is not finite"),
        (2e38, r"row 7 holds 2e\+38, more than"),
    ],
)
def test_what_cannot_be_quantised_is_named(precision, number, words):
    model = model_of(EmbeddingPlan(kind="collisionless", width=8))
    with torch.no_grad():
        model.state_dict()["embeddings.tables.pooled.embedding_bags.item_id.weight"][7, 3] = number
    with pytest.raises(
        InputError, match=f"^embeddings.tables.pooled.embedding_bags.item_id.weight cannot be quantised: {words}"
    ):
        quantised_state(model, precision)


def test_large_numbers_fit_bytes_and_not_halves():
    weight = torch.tensor([[1e6, -1e6, 12.0]])
    torch.testing.assert_close(table_of(weight, "int8")(), weight, rtol=0, atol=4000)
    with pytest.raises(InputError, match=r"row 0 holds 1e\+06, more than the 65504"):
        quantise_rows(weight, "fp16")
