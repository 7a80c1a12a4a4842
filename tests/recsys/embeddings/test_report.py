"""The report of the budget, against what the hashes do."""

import polars as pl
import pytest
import torch

from features.vocabulary import Vocabulary
from recsys.embeddings import EmbeddingPlan, Embeddings, FeatureLookup
from recsys.embeddings.report import spent

SIZES = {"item_id": 4000, "city": 900, "flag": 2}
LOOKUPS = [FeatureLookup(name, name) for name in SIZES]


def _shares(embed: Embeddings, feature: str) -> tuple[float, float, float]:
    """Which share of a feature's ids meets its own kind, others, and its own kind in all look-ups."""
    mine = torch.stack(embed.addresses(feature, torch.arange(SIZES[feature])))  # (L, V)
    taken = torch.cat([one for name in SIZES if name != feature for one in embed.addresses(name, _all(name))])
    inside = torch.stack([one.bincount()[one] > 1 for one in mine]).float().mean()
    _, which, counts = mine.T.unique(dim=0, return_inverse=True, return_counts=True)
    return float(inside), float(torch.isin(mine, taken).float().mean()), float((counts[which] > 1).float().mean())


def _all(feature: str) -> torch.Tensor:
    return torch.arange(-1, SIZES[feature])


@pytest.mark.parametrize("budget", [1.0, 0.1, 0.01])
def test_expected_collisions_are_those_that_happen(budget: float) -> None:
    plan = EmbeddingPlan(kind="multiplexed", width=8, lookups=2, budget=budget)
    vocabularies = {name: Vocabulary(name, pl.Series(range(size))) for name, size in SIZES.items()}
    embed = Embeddings(plan, LOOKUPS, vocabularies)
    report = {line["feature"]: line for line in spent(plan, LOOKUPS, SIZES).to_dicts()}
    for feature in ("item_id", "city"):
        inside, between, inseparable = _shares(embed, feature)
        line = report[feature]
        assert line["collisions_inside"] == pytest.approx(inside, abs=0.04)
        assert line["collisions_between"] == pytest.approx(between, abs=0.04)
        assert line["inseparable"] == pytest.approx(inseparable, abs=0.04)


def test_kinds_of_table_share_what_they_share() -> None:
    kinds = {kind: spent(EmbeddingPlan(kind=kind, width=8), LOOKUPS, SIZES) for kind in ("collisionless", "hashed")}
    assert kinds["collisionless"]["rows"].to_list() == [4001, 901, 3]
    assert kinds["collisionless"].select("collisions_inside", "collisions_between", "inseparable").sum().row(0) == (
        0,
        0,
        0,
    )
    assert kinds["hashed"]["rows"].to_list() == [8002, 1802, 6]
    assert kinds["hashed"]["collisions_between"].to_list() == [0, 0, 0]
    assert 0.3 < kinds["hashed"]["collisions_inside"][0] < 0.5
