"""What texts add to items and histories: formulas on fixed numbers, and what is learned and what is not."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn.functional import gelu

from features.batches import FeatureBatch, Jagged
from features.errors import InputError
from features.feature_table import FeatureTable
from features.schema import FeatureSchema, Id, Sequence, Vector
from recsys.embeddings import EmbeddingPlan
from recsys.fusion import HistoryTexts, TextFusion, fit_texts, text_of
from recsys.fusion_config import ALIGNMENTS, KINDS, FusionConfig

V, D, N = 10, 4, 60
FUSED = tuple(kind for kind in KINDS if kind != "none")


def _texts(n: int = N, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(n, V)) * np.geomspace(1, 0.1, V) + 2
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _fusion(kind: str, **settings) -> tuple[TextFusion, int]:
    """A fusion that knows the texts, and how wide what is learned is; None where nothing is."""
    torch.manual_seed(0)
    config = FusionConfig(kind, **settings)
    fusion = TextFusion(config, V, D)
    fit_texts(fusion, _texts())
    return fusion, config.learned_width(D)


def _learned(kind: str, width: int, n: int = N) -> torch.Tensor | None:
    return None if kind in ("text", "whitened") else torch.randn(n, width, requires_grad=True)


def _white() -> np.ndarray:
    """E_lang of AlphaFuse: (E - mu) U S^-1/2, its columns up to their signs."""
    centred = _texts().astype(np.float64)
    centred -= centred.mean(axis=0)
    directions, variances, _ = np.linalg.svd(np.cov(centred.T))
    return centred @ directions[:, :D] / np.sqrt(variances[:D])


def test_alphafuse_is_its_formula() -> None:
    """The whitened text, with what is learned added in the last dimensions."""
    fusion, width = _fusion("alphafuse", learned=1)
    learned = _learned("alphafuse", width)
    found = fusion(learned, torch.from_numpy(_texts()))
    white, gain = _white(), fusion.gain.item()
    assert width == 1 and gain == pytest.approx(1 / D**0.5)
    signs = np.sign((fusion.text(torch.from_numpy(_texts())).numpy() * white).sum(axis=0))
    expected = white * signs * gain + np.pad(learned.detach().numpy(), ((0, 0), (D - 1, 0)))
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("learned", [0, 1, 3, D])
def test_alphafuse_learns_in_the_last_dimensions_alone(learned: int) -> None:
    fusion, width = _fusion("alphafuse", learned=learned)
    assert width == (learned or D // 2)
    ids, texts = _learned("alphafuse", width), torch.from_numpy(_texts())
    before, frozen = fusion(ids, texts).detach(), {name: one.clone() for name, one in fusion.text.state_dict().items()}
    optimiser = torch.optim.AdamW([ids, *(one for name, one in fusion.named_parameters() if name != "gain")], lr=0.1)
    fusion(ids, texts).square().sum().backward()
    optimiser.step()
    moved = (fusion(ids, texts) - before).abs().amax(dim=0)
    assert (moved[: D - width] == 0).all() and (moved[D - width :] > 0.01).all()
    assert all(torch.equal(one, frozen[name]) for name, one in fusion.text.state_dict().items())
    assert [name for name, _ in fusion.named_parameters()] == ["gain"]  # of the text, nothing but how loud it is


def test_an_item_that_nothing_was_learned_for_is_its_whitened_text() -> None:
    alphafuse, width = _fusion("alphafuse")
    whitened, _ = _fusion("whitened")
    new = torch.from_numpy(_texts(5, seed=7))
    torch.testing.assert_close(alphafuse(torch.zeros(5, width), new), whitened(None, new))


def test_whitened_texts_have_one_scale_and_the_length_of_one() -> None:
    fusion, _ = _fusion("whitened")
    found = fusion(None, torch.from_numpy(_texts())).detach()
    torch.testing.assert_close(torch.cov(found.T), torch.eye(D) / D, atol=1e-3, rtol=0)
    assert found.square().sum(dim=1).mean().sqrt().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("kind", ["add", "concat", "text"])
@pytest.mark.parametrize("hidden", [(), (7, 6)])
def test_projected_texts_are_their_formula(kind: str, hidden: tuple[int, ...]) -> None:
    fusion, width = _fusion(kind, hidden=hidden)
    texts = torch.from_numpy(_texts())
    centred = texts - texts.mean(dim=0)
    told = centred / centred.square().mean().sqrt()
    for linear in (one for one in fusion.layers if isinstance(one, torch.nn.Linear)):
        told = gelu(told @ linear.weight.T + linear.bias)
    learned = _learned(kind, width)
    together = torch.cat([learned, told], dim=1) if kind == "concat" else told
    expected = together @ fusion.project.weight.T + fusion.project.bias
    expected = expected + learned if kind == "add" else expected
    torch.testing.assert_close(fusion(learned, texts), expected, atol=1e-4, rtol=1e-4)


def test_add_and_concat_begin_as_the_sum_of_both() -> None:
    for kind in ("add", "concat"):
        fusion, width = _fusion(kind)
        learned, texts = _learned(kind, width), torch.from_numpy(_texts())
        told = fusion(torch.zeros(N, width), texts)
        torch.testing.assert_close(fusion(learned, texts) - told, learned)
        assert 0.5 < told.square().sum(dim=1).mean().sqrt().item() < 2


@pytest.mark.parametrize("kind", FUSED)
def test_an_item_without_text_stands_at_the_mean(kind: str) -> None:
    """Its vector is what the mean text's would be, whatever is learned for it."""
    fusion, width = _fusion(kind)
    learned = _learned(kind, width, 1)
    none, mean = torch.zeros(1, V), fusion.text.mean[None]
    found = fusion(learned, none)
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found, fusion(learned, mean), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", FUSED)
def test_gradients_reach_what_is_learned(kind: str) -> None:
    fusion, width = _fusion(kind, hidden=(5,))
    learned, texts = _learned(kind, width), torch.from_numpy(_texts()).requires_grad_()
    fusion(learned, texts).square().sum().backward()
    for weight in (*fusion.parameters(), *(() if learned is None else (learned,))):
        assert weight.grad is not None and weight.grad.abs().sum() > 0


def test_dropout_is_of_training_alone() -> None:
    fusion, width = _fusion("add", dropout=0.5)
    learned, texts = _learned("add", width), torch.from_numpy(_texts())
    assert not torch.equal(fusion(learned, texts), fusion(learned, texts))
    fusion.eval()
    assert torch.equal(fusion(learned, texts), fusion(learned, texts))


@pytest.mark.parametrize("kind", FUSED)
def test_what_is_known_of_texts_travels_with_the_weights(kind: str) -> None:
    fusion, width = _fusion(kind)
    with torch.device("meta"):
        empty = TextFusion(FusionConfig(kind), V, D)
    empty.load_state_dict(fusion.state_dict(), assign=True)
    learned, texts = _learned(kind, width), torch.from_numpy(_texts())
    assert torch.equal(empty.eval()(learned, texts), fusion.eval()(learned, texts))


@pytest.mark.parametrize("kind", ["alphafuse", "whitened"])
def test_more_directions_than_a_text_has(kind: str) -> None:
    with pytest.raises(
        InputError, match=f"'{kind}' keeps model.dim 11 directions .* has 10 dimensions; take a smaller"
    ):
        TextFusion(FusionConfig(kind), V, V + 1)
    assert TextFusion(FusionConfig("add"), V, V + 1)(torch.zeros(1, V + 1), torch.ones(1, V)).shape == (1, V + 1)


@pytest.mark.parametrize("told", [0, 1])
def test_too_few_texts_are_one_sentence(told: int) -> None:
    texts = np.zeros((N, V), np.float32)
    texts[:told] = 1
    with pytest.raises(InputError, match=f"wants texts, and {told} of the 60 items that training sees have one"):
        fit_texts(TextFusion(FusionConfig("add"), V, D), texts)


def test_items_without_text_do_not_count() -> None:
    some = _texts()
    some[::3] = 0
    all_of_them, told_ones = TextFusion(FusionConfig("whitened"), V, D), TextFusion(FusionConfig("whitened"), V, D)
    fit_texts(all_of_them, some)
    fit_texts(told_ones, some[some.any(axis=1)])
    assert torch.equal(all_of_them.text.directions, told_ones.text.directions)


def _history_texts(texts: np.ndarray) -> HistoryTexts:
    table = FeatureTable({}, {"told": texts}, len(texts))
    module = HistoryTexts(Sequence("history"), Vector("told", size=V), table)
    fit_texts(module, texts)
    return module


def _users(*rows: list[int]) -> FeatureBatch:
    flat = [value for row in rows for value in row]
    history = Jagged(torch.tensor(flat, dtype=torch.int64), torch.tensor([len(row) for row in rows], dtype=torch.int64))
    return FeatureBatch({"history": history}, {}, len(rows))


def test_a_history_says_the_mean_of_its_texts() -> None:
    texts = _texts()
    texts[5] = 0  # says nothing, and does not count
    module = _history_texts(texts)
    rows = [[1, 2, 5], [], [5], [7, 7, 3], [9]]
    found = module(_users(*rows))
    for row, vector in zip(rows, found, strict=True):
        told = [texts[item] for item in row if item != 5]
        expected = module.text(torch.from_numpy(np.mean(told, axis=0))) if told else torch.zeros(V)
        torch.testing.assert_close(vector, expected, atol=1e-5, rtol=1e-5)
    assert module(_users([], [])).tolist() == [[0.0] * V] * 2
    assert module(_users()).shape == (0, V)
    assert set(module.state_dict()) == {"text.mean", "text.scale"}  # the catalogue is no weight


def test_the_declared_vector_is_found_or_missed() -> None:
    told = FeatureSchema(item=(Id("item_id"), Vector("told", size=V)))
    untold = FeatureSchema(item=(Id("item_id"),))
    assert text_of(FusionConfig(), untold) is None and text_of(FusionConfig(), told) is None
    assert text_of(FusionConfig("add"), told) == text_of(FusionConfig(align="con"), told) == told.vector
    with pytest.raises(
        InputError, match=r"model.fusion.kind is 'add', and no item feature of kind 'vector'.*text.columns"
    ):
        text_of(FusionConfig("add"), untold)
    with pytest.raises(InputError, match=r"model.fusion.align is 'gen', and no item feature"):
        text_of(FusionConfig(align="gen"), untold)


def test_tables_are_as_narrow_as_what_is_learned() -> None:
    plan = EmbeddingPlan("collisionless", width=64)
    assert FusionConfig("alphafuse").narrowed(plan, 64).width == 32
    assert FusionConfig("alphafuse", learned=5).narrowed(plan, 64).width == 5
    for kind, other, dim in (("add", plan, 64), ("alphafuse", plan, 32)):
        assert FusionConfig(kind).narrowed(other, dim) is other
    wide = EmbeddingPlan("collisionless", width=64, widths={"brand": 8})
    assert FusionConfig("alphafuse").narrowed(wide, 64) is wide


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("align", ALIGNMENTS)
def test_the_configuration_survives_json(kind: str, align: str) -> None:
    config = FusionConfig(kind, hidden=(3, 4), align=align)
    assert FusionConfig.from_json(dataclasses.asdict(config)) == config
    assert FusionConfig.from_json({**dataclasses.asdict(config), "hidden": [3, 4]}) == config


def test_bundles_of_before_there_was_fusion_have_none() -> None:
    assert FusionConfig.from_json(None) == FusionConfig()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"kind": "sum"}, "kind is 'sum', not one of none, add, concat, alphafuse, whitened, text"),
        ({"align": "both"}, "align is 'both', not one of none, con, gen"),
        ({"hidden": (0,)}, "hidden has widths of at least 1"),
        ({"learned": -1}, "learned is 0 or more"),
        ({"dropout": 1.0}, "dropout is in"),
        ({"align_weight": -1.0}, "align_weight is 0 or more"),
        ({"align_temperature": 0.0}, "align_temperature is a positive number"),
        ({"align_share": 1.0}, "align_share is in"),
    ],
)
def test_wrong_settings_are_named(settings: dict, told: str) -> None:
    with pytest.raises(InputError, match=f"model.fusion.{told}"):
        FusionConfig(**settings)


def test_more_learned_dimensions_than_there_are() -> None:
    with pytest.raises(InputError, match=r"model.fusion.learned is 5, more than the model.dim of 4"):
        FusionConfig("alphafuse", learned=5).learned_width(D)
