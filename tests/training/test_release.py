"""What a release says of its precision: the figures of the bundle that is served, beside those of the same in fp32."""

import dataclasses
from pathlib import Path

import pytest
import torch

from features.prepared import Prepared
from recsys.two_tower import TwoTower
from serving.bundles.manifest import Manifest
from serving.bundles.writer import BundleConfig, write_bundle
from training.bundle_evaluation import evaluate_bundle
from training.config import TrainConfig, as_dict, load_config
from training.release import load_model, release, release_refitted


@pytest.fixture(scope="module")
def model(small_config: TrainConfig, small_prepared: Prepared) -> TwoTower:
    """Weights at random: bundles must be right whatever a model has learned."""
    torch.manual_seed(0)
    return TwoTower(small_config.model, small_prepared.dataset.schema, small_prepared.vocabularies).eval()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_quantised_bundle_is_measured_as_it_is(
    small_config: TrainConfig, small_prepared: Prepared, model: TwoTower, tmp_path: Path, precision: str
) -> None:
    config = dataclasses.replace(small_config, bundle=BundleConfig(precision))
    folder = tmp_path / "bundle"
    figures, answers = release(folder, config, small_prepared, model)
    assert answers.figures() == figures
    manifest = Manifest.read(folder)
    assert manifest.precision == precision
    assert figures == manifest.metrics == evaluate_bundle(folder, small_prepared)
    assert [one.name for one in tmp_path.iterdir()] == ["bundle"]
    if precision == "fp32":
        assert manifest.fp32_metrics == manifest.precision_loss == {}
        return
    whole = evaluate_bundle(write_bundle(tmp_path / "whole", model, small_prepared), small_prepared)
    assert manifest.fp32_metrics == whole
    for name in ("hr@10", "ndcg@10"):
        assert manifest.precision_loss[name] == pytest.approx((whole[name] - figures[name]) / whole[name])
    refitted = release_refitted(folder, config, small_prepared, model, small_prepared, figures)
    after = Manifest.read(refitted)
    assert after.refitted and after.precision == precision
    assert (after.metrics, after.fp32_metrics, after.precision_loss) == (figures, whole, manifest.precision_loss)
    assert load_model(refitted).embeddings.tables.pooled.embedding_bags["unified"].weight.dtype != torch.float32


def test_the_precision_is_a_setting() -> None:
    config = load_config(settings=["bundle.precision=int8"])
    assert config.bundle == BundleConfig("int8")
    assert as_dict(config)["bundle"] == {"precision": "int8"}
    assert load_config().bundle == BundleConfig("fp32")
    with pytest.raises(ValueError, match="precision"):
        load_config(settings=["bundle.precision=int4"])
