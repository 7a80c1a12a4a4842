"""The same code on a CUDA device."""

import pytest
import torch

from recsys.top_k import top_k
from training.evaluation import Evaluation, ModelScores, evaluate
from training.two_tower_fit import fit

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


def test_rankings_do_not_depend_on_the_device() -> None:
    queries, items = torch.randint(-3, 4, (40, 8)).float(), torch.randint(-3, 4, (500, 8)).float()  # exact, many ties
    host, device = top_k(queries, items, 20), top_k(queries.cuda(), items.cuda(), 20)
    assert torch.equal(host.rows, device.rows.cpu())
