"""Re-ranking against brute force, in process and over HTTP; and rankers that do not belong in a bundle."""

from __future__ import annotations

import json
import shutil

import numpy as np
import polars as pl
import pytest
import torch
from fastapi.testclient import TestClient

from features.batches import FeatureBatch, Jagged
from features.errors import InputError
from features.schema import FeatureSchema
from features.vocabulary import Vocabulary
from recsys.embeddings import EmbeddingPlan
from recsys.ranking import Ranker, RankerConfig
from serving.bundles.bundle import Bundle
from serving.bundles.manifest import Manifest
from serving.bundles.ranker_reader import ranker_inputs
from serving.bundles.ranker_writer import with_ranker
from serving.bundles.sealed import BundleError
from serving.candidates import CandidateGenerator
from serving.http.app import create_app
from serving.lists.raw_ids import FieldError
from serving.lists.reranking import Reranker
from training.cli import main

pytestmark = pytest.mark.filterwarnings("ignore:.*httpx.*")


def ranker_for(prepared, seed=0, schema=None, **config):
    """A ranker with random weights, and its vocabularies."""
    torch.manual_seed(seed)
    inputs = ranker_inputs(schema or prepared.dataset.schema, prepared.vocabularies, prepared.items)
    plan = EmbeddingPlan(kind="collisionless", width=4, initial_range=1.0)
    return Ranker(RankerConfig(hidden=(8,), embeddings=plan, **config), *inputs).eval(), inputs[1]


@pytest.fixture(scope="module")
def ranker(strings):
    return ranker_for(strings)


@pytest.fixture(scope="module", params=["two-tower", "sequential"])
def folder(request, string_folders, ranker, tmp_path_factory):
    return with_ranker(string_folders[request.param], *ranker, tmp_path_factory.mktemp("ranked") / "bundle")


@pytest.fixture(scope="module")
def reranking(folder):
    return CandidateGenerator.load(folder)


def probability(ranker, prepared, user, history, item):
    """One pair, from the training side's tables."""
    if user is not None:
        batch = prepared.user_table.take(np.array([user]))
    else:
        batch = prepared.user_encoder.encode(pl.DataFrame({"": [0]})).take(np.array([0]))
        batch.sparse["user_id"] = Jagged(torch.tensor([-1]), torch.tensor([1]))
    items = prepared.item_table.take(np.array([item]))
    sparse = {**batch.sparse, **items.sparse}
    sparse["history"] = Jagged(torch.tensor(history), torch.tensor([len(history)]))
    with torch.inference_mode():
        return float(torch.sigmoid(ranker(FeatureBatch(sparse, {**batch.dense, **items.dense}, 1))))


def brute_force(ranker, prepared, user, history, candidates, k):
    """Ids and probabilities of the k best candidates."""
    rows = prepared.items.rows(candidates)
    scores = np.array([probability(ranker, prepared, user, list(history), row) for row in rows])
    order = np.argsort(-scores, kind="stable")[:k]
    return [candidates[n] for n in order], pytest.approx(scores[order], abs=1e-5)


@pytest.mark.parametrize("depth", [5, 20, 1000])
@pytest.mark.parametrize("exclude_seen", [True, False])
def test_the_best_of_the_retrieved_by_the_ranker(reranking, ranker, strings, depth, exclude_seen):
    k = 7
    users, histories = ["u003", None, "u000", "stranger"], [None, ["sku-004", "sku-010"], ["sku-058"], None]
    retrieved = reranking.recommend(users, histories, max(k, depth), exclude_seen)
    answer = reranking.recommend(users, histories, k, exclude_seen, rerank=True, rerank_depth=depth)
    rows = [3, None, 0]
    used = [strings.test_histories.row(3), strings.items.rows(["sku-004", "sku-010"]), strings.items.rows(["sku-058"])]
    for n in range(3):
        expected = brute_force(ranker[0], strings, rows[n], used[n], retrieved.item_ids[n], k)
        assert (answer.item_ids[n], answer.scores[n]) == expected
        assert answer.item_ids[n] != retrieved.item_ids[n][:k]
    # nothing is known of the last: popularity, as without
    assert answer.item_ids[3] == retrieved.item_ids[3][:k]
    assert answer.scores[3] == retrieved.scores[3][:k]
    given = "history" if reranking.bundle.by_history_alone else "user"
    assert answer.sources == retrieved.sources == ["user", "history", given, "popularity"]
    if exclude_seen:
        assert not set(answer.item_ids[0]) & set(strings.items.ids_of(strings.test_histories.row(3)))
    assert answer.titles_of(0)[0] == f"Thing number {int(answer.item_ids[0][0][-3:])}"


def test_without_being_asked_it_answers_as_before(reranking, generator, sequential):
    users, before = ["u003", "u005", "stranger"], sequential if reranking.bundle.by_history_alone else generator
    assert reranking.recommend(users).to_json() == before.recommend(users).to_json()


def test_k_beyond_the_catalogue_and_beyond_the_depth(reranking):
    answer = reranking.recommend(["u003", "u000"], k=1000, rerank=True, rerank_depth=1)
    plain = reranking.recommend(["u003", "u000"], k=1000)
    assert [sorted(one) for one in answer.item_ids] == [sorted(one) for one in plain.item_ids]
    for scores in answer.scores:
        assert scores == sorted(scores, reverse=True)
        assert all(0 < one < 1 for one in scores)


def test_in_small_parts_it_is_the_same(reranking, monkeypatch):
    users = [f"u{n:03d}" for n in range(38)]
    whole = reranking.recommend(users, rerank=True)
    monkeypatch.setattr("serving.lists.reranking._MOST", 1500)
    parts = reranking.recommend(users, rerank=True)
    alone = [reranking.recommend([user], rerank=True) for user in users]
    for n in range(38):
        assert parts.item_ids[n] == whole.item_ids[n] == alone[n].item_ids[0]
        assert parts.scores[n] == pytest.approx(whole.scores[n], abs=1e-5)


def test_attributes_count(reranking):
    said = [{"city": "Riga", "age": 70}, {"city": "Bonn", "age": 20}]
    answer = reranking.recommend([None, None], [["sku-004"]] * 2, k=60, attributes=said, rerank=True, rerank_depth=60)
    assert dict(zip(answer.item_ids[0], answer.scores[0], strict=True)) != dict(
        zip(answer.item_ids[1], answer.scores[1], strict=True)
    )


def test_numbers_that_overflow_keep_the_retrievers_order(reranking):
    arguments = ([None], [["sku-004"]], 5)
    huge = reranking.recommend(*arguments, attributes=[{"age": 1e25}], rerank=True)
    assert len(huge.item_ids[0]) == 5
    assert np.isfinite(huge.scores[0]).all()


def test_of_equal_candidates_the_first_stays_first():
    class Same(torch.nn.Module):
        def forward(self, batch):
            return torch.full((batch.size,), torch.nan)

    class Items:
        def take(self, rows):
            return FeatureBatch(size=len(rows))

    users = [(np.array([1, 0]), FeatureBatch(size=2))]
    scores, rows = Reranker(Same(), Items()).best(users, np.array([[5, 2, 9, -1], [-1, -1, -1, -1]]), 3)
    assert rows.tolist() == [[5, 2, 9], [-1, -1, -1]]
    assert scores.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_over_http_it_is_the_same(reranking, strings, generator):
    client = TestClient(create_app(reranking))
    users, histories = [*strings.users.ids.to_list(), None], [None] * 40 + [["sku-004"]]
    body = {"user_ids": users, "histories": histories, "k": 6, "rerank": True, "rerank_depth": 15}
    answer = client.post("/candidates", json=body)
    expected = reranking.recommend(users, histories, 6, rerank=True, rerank_depth=15).to_json()
    assert answer.json()["candidates"] == expected
    records = [{"user_id": user, "history": history} for user, history in zip(users, histories, strict=True)]
    params = {"k": 6, "rerank": True, "rerank_depth": 15}
    answer = client.post("/invocations", json={"dataframe_records": records, "params": params})
    assert answer.json()["predictions"] == expected
    assert client.get("/version").json()["reranks"] is True
    for wrong in ({"rerank": "yes"}, {"rerank_depth": 0}, {"rerank_depth": 1001}, {"rerank_depth": True}):
        refused = client.post("/candidates", json={"user_ids": ["u001"], **wrong})
        assert refused.status_code == 422
        assert refused.json()["detail"][0]["loc"][-1] == next(iter(wrong))
    many = {"user_ids": ["u"] * 1000, "k": 1, "rerank_depth": 101}
    assert client.post("/candidates", json=many).status_code == 200
    refused = client.post("/candidates", json={**many, "rerank": True})
    assert refused.status_code == 422
    assert "1000 users x rerank_depth=101" in refused.text
    refused = TestClient(create_app(generator)).post("/candidates", json={"user_ids": ["u001"], "rerank": True})
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"] == ["body", "rerank"]
    assert refused.json()["detail"][0]["msg"] == "this model has no ranker, so candidates cannot be re-ranked"


def test_arguments_that_cannot_be_used_are_named(generator, reranking):
    with pytest.raises(FieldError, match="this model has no ranker"):
        generator.recommend(["u001"], rerank=True)
    for wrong in (0, 2.0, True, None):
        with pytest.raises(FieldError, match="rerank_depth is a whole number of at least 1"):
            reranking.recommend(["u001"], rerank=True, rerank_depth=wrong)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_ranker_goes_into_a_bundle_and_comes_back(string_folder, ranker, tmp_path, precision):
    before = Manifest.read(string_folder)
    folder = with_ranker(string_folder, *ranker, tmp_path / "bundle", precision)
    after, bundle = Manifest.read(folder), Bundle.load(folder)
    assert after.has_ranker and not before.has_ranker
    assert after.build_id != before.build_id
    assert Manifest.read(string_folder) == before
    if precision == "fp32":
        for name, weight in ranker[0].state_dict().items():
            assert torch.equal(bundle.ranker.state_dict()[name], weight)
    # another one in its place
    again = with_ranker(folder, *ranker, precision="int8")
    assert again == folder
    assert json.loads((folder / "ranker.json").read_text())["precision"] == "int8"
    assert (Manifest.read(folder).build_id == after.build_id) == (precision == "int8")
    assert [one.name for one in tmp_path.iterdir()] == ["bundle"]


def test_a_ranker_that_does_not_fit_is_refused(string_folder, strings, ranker, tmp_path, tiny):
    fewer = FeatureSchema(user=tiny.schema.user[1:], item=tiny.schema.item)
    turned = FeatureSchema(user=tiny.schema.user[::-1], item=tiny.schema.item)
    aged = FeatureSchema(user=tuple(one for one in tiny.schema.user if one.name != "age"), item=tiny.schema.item)
    model, vocabularies = ranker
    genres = vocabularies["genres"]
    other = Vocabulary("genres", genres.ids[::-1])
    attempts = [
        (*ranker_for(strings, schema=fewer), "the ranker reads the embedded features city, history, item_id, genres, "),
        (*ranker_for(strings, schema=turned), "the ranker reads the embedded features history, city, user_id"),
        (*ranker_for(strings, schema=aged), r"the ranker reads the numbers \(none\), and those .* are age"),
        (model, {**vocabularies, "genres": other}, "the ranker's vocabulary of 'genres', 3 ids, is not the one of"),
        (model, {}, "the ranker's vocabulary of 'user_id' is not given"),
    ]
    for one, ids, words in attempts:
        with pytest.raises(InputError, match=words):
            with_ranker(string_folder, one, ids, tmp_path / "bundle")
    broken = ranker_for(strings)[0]
    broken.logit = torch.nn.Linear(8, 2)
    with pytest.raises(InputError, match=r"does not fit the bundle .*: ranker\.safetensors: logit\.bias has the shape"):
        with_ranker(string_folder, broken, vocabularies, tmp_path / "bundle")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("four years")
    with pytest.raises(BundleError, match="is no bundle"):
        with_ranker(string_folder, *ranker, tmp_path / "other")
    assert [one.name for one in tmp_path.iterdir()] == ["other"]


@pytest.mark.parametrize("name", ["ranker.json", "ranker.safetensors"])
def test_a_damaged_ranker_is_named(folder, tmp_path, name):
    broken = shutil.copytree(folder, tmp_path / "bundle")
    data = bytearray((broken / name).read_bytes())
    data[len(data) // 2] ^= 1
    (broken / name).write_bytes(data)
    with pytest.raises(BundleError, match=rf"^{name} has the sha256"):
        Bundle.load(broken)
    (broken / name).unlink()
    with pytest.raises(BundleError, match=f"the bundle lacks {name}"):
        Bundle.load(broken)
    manifest = json.loads((broken / "manifest.json").read_text())
    del manifest["files"][name]
    (broken / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=f"does not list {name}"):
        Bundle.load(broken)


def test_the_weights_of_another_ranker_are_refused(folder, strings, tmp_path):
    broken = shutil.copytree(folder, tmp_path / "bundle")
    described = json.loads((broken / "ranker.json").read_text())
    described["config"]["hidden"] = [9]
    (broken / "ranker.json").write_text(json.dumps(described))
    Manifest.read(broken).sealed(broken).write(broken)
    with pytest.raises(BundleError, match=r"ranker\.safetensors: deep\.0\.bias has the shape \(8,\), and the model of"):
        Bundle.load(broken)


def test_on_the_command_line_it_is_the_same(folder, string_folder, reranking, capsys):
    asked = ["--user", "u003", "-k", "4", "--rerank", "--rerank-depth", "9", "--json"]
    assert main(["recommend", "--model", str(folder), *asked]) == 0
    expected = reranking.recommend(["u003"], k=4, rerank=True, rerank_depth=9)
    assert json.loads(capsys.readouterr().out) == expected.to_json()
    assert main(["recommend", "--model", str(string_folder), *asked]) == 2
    assert "this model has no ranker" in capsys.readouterr().err
