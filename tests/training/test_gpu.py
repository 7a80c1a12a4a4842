"""The same code on a CUDA device."""

import dataclasses

import pytest
import torch

from features.dataset import Dataset
from features.labelled import LabelledExamples
from features.prepared import Prepared
from features.schema import Sequence
from features.splits import leave_one_out
from recsys.losses.linear_cross_entropy import linear_cross_entropy
from recsys.ranking import Ranker
from recsys.retrievers import make_retriever
from recsys.top_k import top_k
from training.config import load_config
from training.data import prepare
from training.evaluation import Evaluation, ModelScores, evaluate
from training.ranking import RankingConfig
from training.ranking_run import fit_ranker, prepare_labelled
from training.sequential_config import SequentialTrainConfig
from training.sequential_fit import fit as fit_sequential
from training.two_tower_fit import fit
from training.windows import Windows

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


@pytest.mark.parametrize(
    "settings",
    [
        ("model.times=request", "model.items=all", "model.also_predict=[category]"),
        ("model.backbone=ligr", "loss.name=sampled-softmax", "model.tie=false"),
        ("loss.name=bce", "optimiser.tables=rowwise-adagrad"),
        ("model.backbone=sasrec", "loss.name=gbce", "optimiser.precision=bf16-mixed"),
    ],
    ids=lambda settings: settings[0],
)
def test_a_sequential_model_learns_on_the_device_what_the_host_measures(settings: tuple[str, ...], tmp_path) -> None:
    config = load_config(settings=[*SMALL, "model.max_length=20", *settings], kind=SequentialTrainConfig)
    prepared = _timed(config)
    losses = []
    fitted = fit_sequential(config, prepared, tmp_path, report=lambda figures, _: losses.append(figures["train/loss"]))
    assert losses[-1] < losses[0]
    evaluation = Evaluation(prepared, "validation")
    on_host = evaluate(evaluation, ModelScores(fitted.model, evaluation).scorer)
    on_device = evaluate(evaluation, ModelScores(fitted.model.cuda(), evaluation).scorer)
    assert on_host["ndcg@10"] == pytest.approx(fitted.validation, abs=1e-3)
    assert on_device["ndcg@10"] == pytest.approx(on_host["ndcg@10"], abs=1e-3)


def _timed(config: SequentialTrainConfig) -> Prepared:
    """The data with a timed history."""
    data = prepare(config).dataset
    schema = dataclasses.replace(data.schema, user=(Sequence("history", timed=True),))
    made = Dataset.construct(data.name, data.interactions, data.items, data.users, schema)
    return Prepared.of(made, leave_one_out(made))


def test_a_timed_batch_has_the_vectors_of_the_host(tmp_path) -> None:
    config = load_config(settings=[*SMALL, "model.times=request"], kind=SequentialTrainConfig)
    prepared = _timed(config)
    batch = next(iter(Windows(prepared, config.windows, 0, lambda: 0)))
    model = make_retriever(config.model, prepared.dataset.schema, prepared.vocabularies, prepared.item_table).eval()
    for layer in model.layers:
        torch.nn.init.normal_(layer.attention.time_bias)
    history = batch.users.sparse["history"]
    host = model.hidden(history, batch.users.asked_at)
    moved = batch.to(device="cuda").users
    torch.testing.assert_close(
        model.cuda().hidden(moved.sparse["history"], moved.asked_at).cpu(), host, atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("items_per_chunk", [None, 100])
def test_the_fused_cross_entropy_is_that_of_the_host(items_per_chunk: int | None) -> None:
    queries, vectors = torch.randn(300, 32, requires_grad=True), torch.randn(1_001, 32, requires_grad=True)
    targets = torch.randint(1_001, (300,))
    host = linear_cross_entropy(queries, vectors, targets, 0.7, items_per_chunk)
    device = linear_cross_entropy(queries.cuda(), vectors.cuda(), targets.cuda(), 0.7, items_per_chunk)
    torch.testing.assert_close(device.cpu(), host, rtol=1e-5, atol=0)
    wanted = torch.autograd.grad(host, (queries, vectors))
    for found, one in zip(torch.autograd.grad(device, (queries, vectors)), wanted, strict=True):
        torch.testing.assert_close(found, one, rtol=1e-4, atol=1e-5)


def test_rankings_do_not_depend_on_the_device() -> None:
    queries, items = torch.randint(-3, 4, (40, 8)).float(), torch.randint(-3, 4, (500, 8)).float()  # exact, many ties
    host, device = top_k(queries, items, 20), top_k(queries.cuda(), items.cuda(), 20)
    assert torch.equal(host.rows, device.rows.cpu())
