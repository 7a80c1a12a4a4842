"""The same code on a CUDA device."""

import pytest
import torch

from features.labelled import LabelledExamples
from recsys.ranking import Ranker
from recsys.top_k import top_k
from training.config import load_config
from training.evaluation import Evaluation, ModelScores, evaluate
from training.ranking import RankingConfig
from training.ranking_run import fit_ranker, prepare_labelled
from training.two_tower_fit import fit

#: a small shop; see `small_config`
SMALL = ("data.settings.interactions=3000", "model.dim=16", "model.embeddings.width=16", "optimiser.max_epochs=4")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


def test_fitting_on_the_device_learns_what_the_host_learns(small_config, small_prepared, tmp_path) -> None:
    fitted = fit(small_config, small_prepared, tmp_path)  # Lightning takes the device where there is one
    evaluation = Evaluation(small_prepared, "validation")
    on_host = evaluate(evaluation, ModelScores(fitted.model, evaluation).scorer)
    on_device = evaluate(evaluation, ModelScores(fitted.model.cuda(), evaluation).scorer)
    assert on_host["ndcg@10"] == pytest.approx(fitted.validation, abs=1e-3)
    assert on_device["ndcg@10"] == pytest.approx(on_host["ndcg@10"], abs=1e-3)


def test_fused_tables_on_the_device_are_those_of_the_plain_model(small_prepared, tmp_path) -> None:
    config = load_config(settings=[*SMALL, "optimiser.tables=rowwise-adagrad"])
    plans = []
    fitted = fit(config, small_prepared, tmp_path, say=plans.append)
    assert "fused kernel" in plans[0]
    evaluation = Evaluation(small_prepared, "validation")
    on_host = evaluate(evaluation, ModelScores(fitted.model, evaluation).scorer)
    assert on_host["ndcg@10"] == pytest.approx(fitted.validation, abs=1e-3)


def test_the_pipeline_on_the_device_trains_what_plain_steps_train(tmp_path) -> None:
    values, initial = [], None
    for pipelined in ("false", "true"):
        settings = ["data.settings.interactions=2000", "optimiser.tables=rowwise-adagrad", "optimiser.max_epochs=2"]
        settings += ["optimiser.validate_every=1", "model.embeddings.unknown_rate=0", f"optimiser.pipeline={pipelined}"]
        config = load_config(settings=settings, kind=RankingConfig)
        examples = LabelledExamples.of_prepared(prepare_labelled(config), config.labels)
        if initial is None:
            initial = Ranker(config.model, examples.features, examples.vocabularies).state_dict()
        values.append(fit_ranker(config, examples, tmp_path / pipelined, initial=initial).validation)
    assert values[1] == pytest.approx(values[0], abs=1e-4)


def test_rankings_do_not_depend_on_the_device() -> None:
    queries, items = torch.randint(-3, 4, (40, 8)).float(), torch.randint(-3, 4, (500, 8)).float()  # exact, many ties
    host, device = top_k(queries, items, 20), top_k(queries.cuda(), items.cuda(), 20)
    assert torch.equal(host.rows, device.rows.cpu())
