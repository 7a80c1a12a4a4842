"""Sequential bundles and histories of every shape: each is answered, and the answer says from what."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import polars as pl
import pytest
import torch
from fastapi.testclient import TestClient

from recsys.metrics import RankedTargets
from serving.bundles.known_users import KnownUsers
from serving.bundles.writer import write_bundle
from serving.candidates import CandidateGenerator
from serving.http.app import create_app
from serving.lists.raw_ids import FieldError
from serving.pyfunc_model import signature
from training.bundle_evaluation import evaluate_bundle, served_lists
from training.cli import main
from training.evaluation import Evaluation, ModelScores

pytestmark = pytest.mark.filterwarnings("ignore:.*httpx.*")
LONG = [f"sku-{n % 57:03d}" for n in range(5000)]


@pytest.mark.parametrize(
    ("user", "history", "source", "unknown"),
    [
        ("u001", None, "user", 0),
        ("u001", [], "user", 0),
        ("u001", ["nothing"], "user", 1),
        ("u001", ["sku-004"], "history", 0),
        (None, ["sku-004"], "history", 0),
        ("stranger", ["sku-004", "nothing", "sku-004", ""], "history", 2),
        ("stranger", ["nothing"] * 5000, "popularity", 5000),
        ("stranger", [*LONG, "nothing"], "history", 1),
        (None, ["sku-010"] * 5000, "history", 0),
        (None, [], "popularity", 0),
        (None, None, "popularity", 0),
        ("stranger", None, "popularity", 0),
        # known, and never seen by training: there is no history to go by
        ("u039", None, "popularity", 0),
        ("u039", ["sku-059"], "history", 0),
    ],
)
def test_each_is_served_and_named(sequential, user, history, source, unknown):
    answer = sequential.recommend([user], [history], k=5, exclude_seen=False)
    assert answer.sources == [source]
    assert answer.unknown_history_items == [unknown]
    assert len(answer.item_ids[0]) == 5
    over_http = TestClient(create_app(sequential)).post(
        "/candidates", json={"user_ids": [user], "histories": [history], "k": 5, "exclude_seen": False}
    )
    assert over_http.json()["candidates"] == answer.to_json()


def test_a_trained_user_without_a_stored_history_is_not_personal(sequential):
    bundle = sequential.bundle
    known, nothing = bundle.known, pl.Series([[]] * 40, dtype=pl.List(pl.String))
    emptied = KnownUsers(known.encoder, known.attributes, nothing, known.trained, known.items)
    generator = CandidateGenerator(dataclasses.replace(bundle, known=emptied))
    assert known.trained[3]
    answer = generator.recommend(["u003", "u003"], [None, ["sku-004"]])
    assert answer.sources == ["popularity", "history"]


def test_order_and_repetition_count_and_what_lies_further_back_than_the_model_reads_does_not(sequential):
    base = ["sku-004", "sku-010", "sku-020"]
    histories = [base, base[::-1], [*base, "sku-020"], ["sku-004", *base], ["sku-020"]]
    answer = sequential.recommend(histories=histories, k=60, exclude_seen=False)
    assert len({tuple(scores) for scores in np.round(answer.scores, 4).tolist()}) == len(histories)
    # unknown items leave no gap
    gaps = sequential.recommend(histories=[["?", "sku-004", "?", "sku-010", "sku-020", "?"], base], exclude_seen=False)
    assert gaps.item_ids[0] == gaps.item_ids[1]
    most = sequential.bundle.model.config.max_length
    ends = sequential.recommend(histories=[LONG, LONG[-most:], LONG[-most + 1 :]], k=60, exclude_seen=False)
    assert ends.item_ids[0] == ends.item_ids[1]
    assert ends.scores[0] == pytest.approx(ends.scores[1], abs=1e-5)
    assert ends.scores[1] != pytest.approx(ends.scores[2], abs=1e-3)


def test_all_of_a_long_history_is_left_out_though_the_model_reads_its_end(sequential):
    answer = sequential.recommend(histories=[LONG], k=60)
    assert sorted(answer.item_ids[0]) == ["sku-057", "sku-058", "sku-059"]


def test_among_4096_others_a_user_gets_the_same(sequential):
    random = np.random.default_rng(0)
    items = np.array([f"sku-{n:03d}" for n in range(60)])
    others = [random.choice(items, random.integers(0, 12)).tolist() for _ in range(4096)]
    for history in (["sku-004"], ["sku-001", "sku-002"] * 4, LONG):
        alone = sequential.recommend(histories=[history])
        among = sequential.recommend(histories=[*others[:1500], history, *others[1500:]])
        assert among.item_ids[1500] == alone.item_ids[0]
        assert among.scores[1500] == pytest.approx(alone.scores[0], abs=1e-5)
        assert among.sources[1500] == "history"


@pytest.mark.parametrize("split", ["random", "leave-one-out"])
@pytest.mark.parametrize("backbone", ["sasrec", "hstu"])
def test_what_is_evaluated_is_what_is_served(tiny, tmp_path, split, backbone):
    prepared = tiny.prepared_of(tiny.make_dataset(), split)
    model = tiny.model_for(prepared, family="sequential", backbone=backbone)
    folder = write_bundle(tmp_path / "b", model, prepared)
    evaluation, generator = Evaluation(prepared), CandidateGenerator.load(folder)
    ranking, targets = evaluation.rank(evaluation.users, ModelScores(model, evaluation).scorer(evaluation.users))
    assert torch.equal(served_lists(generator, evaluation, evaluation.users), ranking.rows)
    figures = evaluation.sums(RankedTargets.of(ranking, targets)).values()
    official = evaluate_bundle(folder, prepared)
    for name in ("hr@10", "ndcg@10", "mrr@10", "ties", "unreachable"):
        assert official[name] == pytest.approx(figures[name], abs=1e-9)


@pytest.mark.parametrize("seen", ["none", "train+validation"])
def test_whoever_does_not_say_gets_the_lists_that_were_measured(tiny, tmp_path, capsys, seen):
    prepared = tiny.prepared_of(tiny.make_dataset(), "leave-one-out", seen=seen)
    model = tiny.model_for(prepared, family="sequential")
    folder = write_bundle(tmp_path / "b", model, prepared)
    evaluation, generator = Evaluation(prepared), CandidateGenerator.load(folder)
    ranking, _ = evaluation.rank(evaluation.users, ModelScores(model, evaluation).scorer(evaluation.users))
    measured = [prepared.items.ids_of(one[one >= 0][:20]).to_list() for one in ranking.rows.numpy()]
    users = prepared.users.ids_of(evaluation.users).to_list()
    assert generator.recommend(users, k=20).item_ids == measured
    repeats = any(
        set(one) & set(prepared.items.ids_of(prepared.test_histories.row(user)))
        for one, user in zip(measured, evaluation.users, strict=True)
    )
    assert repeats == (seen == "none")

    client = TestClient(create_app(generator))
    for said in ({}, {"exclude_seen": None}):
        body = client.post("/candidates", json={"user_ids": users, "k": 20, **said}).json()
        assert [one["item_ids"] for one in body["candidates"]] == measured
    records = [{"user_id": one} for one in users]
    body = client.post("/invocations", json={"dataframe_records": records, "params": {"k": 20}}).json()
    assert [one["item_ids"] for one in body["predictions"]] == measured
    manifest = generator.bundle.manifest
    (default,) = [one.default for one in signature(manifest.removes_seen).params if one.name == "exclude_seen"]
    assert default == (seen != "none")

    asked = ["recommend", "--model", str(folder), "--user", users[0], "-k", "20", "--json"]
    for said, kept in (([], seen == "none"), (["--keep-seen"], True), (["--no-keep-seen"], False)):
        assert main([*asked, *said]) == 0
        expected = generator.recommend(users[:1], k=20, exclude_seen=not kept)
        assert json.loads(capsys.readouterr().out) == expected.to_json()


def test_attributes_that_would_change_nothing_are_refused(sequential):
    with pytest.raises(FieldError, match="this model ranks by histories alone, so attributes would change nothing"):
        sequential.recommend([None], [["sku-004"]], attributes=[{"age": 30}])
    assert sequential.recommend([None], [["sku-004"]], attributes=[None]).sources == ["history"]
    answer = TestClient(create_app(sequential)).post(
        "/candidates", json={"histories": [["sku-004"]], "attributes": [{"age": 30}]}
    )
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "attributes"]


def test_without_a_ranker_there_is_no_re_ranking(sequential):
    with pytest.raises(FieldError, match="this model has no ranker"):
        sequential.recommend([None], [["sku-004"]], rerank=True)
