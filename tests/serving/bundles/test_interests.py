"""Several interests of a user, in process and over HTTP, against retrievers that are made from the bundle's parts."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient

from features.errors import InputError
from features.schema import FeatureSchema, Id
from recsys.embeddings import EmbeddingPlan
from recsys.interests import ClustersConfig, InterestsConfig, KNNEmbed
from recsys.ranking import Ranker, RankerConfig
from recsys.retrievers import make_retriever
from recsys.two_tower import TwoTowerConfig
from serving.bundles.bundle import Bundle
from serving.bundles.interests_writer import known_vectors, with_interests
from serving.bundles.manifest import Manifest
from serving.bundles.ranker_reader import ranker_inputs
from serving.bundles.ranker_writer import with_ranker
from serving.bundles.sealed import BundleError
from serving.bundles.writer import write_bundle
from serving.candidates import CandidateGenerator
from serving.http.app import create_app
from serving.lists.raw_ids import FieldError
from serving.lists.shelf import Placed
from training.cli import main

pytestmark = pytest.mark.filterwarnings("ignore:.*httpx.*")

CONFIG = InterestsConfig(components=3, neighbours=4, mixing=0.4, clusters=ClustersConfig(clusters=6))


@pytest.fixture(scope="module", params=["two-tower", "sequential"])
def plain(request, string_folders):
    return string_folders[request.param]


@pytest.fixture(scope="module")
def folder(plain, tmp_path_factory):
    return with_interests(plain, CONFIG, out=tmp_path_factory.mktemp("interests") / "bundle")


@pytest.fixture(scope="module")
def generator(folder):
    return CandidateGenerator.load(folder)


def retrievers(bundle: Bundle) -> KNNEmbed:
    """Fitted anew, from vectors and histories."""
    items, rows = bundle.index.stored(0, len(bundle.index)), np.arange(len(bundle.users))
    histories = bundle.known.histories(rows)
    return KNNEmbed.fit(items, histories, known_vectors(bundle), CONFIG, width=bundle.model.config.dim)


@pytest.mark.parametrize("kind", ["unimodal", "mixture", "smoothed"])
def test_lists_are_those_of_the_retrievers(generator, kind):
    bundle, knn_embed = generator.bundle, retrievers(generator.bundle)
    rows = np.flatnonzero(bundle.known.histories(np.arange(len(bundle.users))).lengths)
    own = bundle.known.histories(rows)
    expected = knn_embed.retrieve(kind, own, known_vectors(bundle)[rows], 8, own, rows)
    answer = generator.recommend(user_ids=bundle.users.ids_of(rows).to_list(), k=8, interests=kind)
    assert answer.item_ids == [bundle.items.ids_of(row[row >= 0]).to_list() for row in expected.rows]


def test_each_item_names_the_interest_that_brought_it(generator):
    ids = generator.bundle.users.ids.to_list()
    answer = generator.recommend(user_ids=ids, k=12, interests="smoothed")
    some, vectors = 0, known_vectors(generator.bundle)
    for user, items, scores, interests, of_item, source in zip(
        ids, answer.item_ids, answer.scores, answer.interests, answer.interest_of, answer.sources, strict=True
    ):
        if source == "popularity":
            assert interests == [] and of_item == []
            continue
        assert len(items) == len(set(items)) == len(of_item) == 12
        weights = [one.weight for one in interests]
        assert weights == sorted(weights, reverse=True) and 0 < sum(weights) <= 1 + 1e-9
        row = int(generator.bundle.users.rows(generator.bundle.users.ids.filter(generator.bundle.users.ids == user))[0])
        listed = generator.bundle.index.vectors_of(generator.bundle.items.rows(items))
        # the scores are those of the declared order
        assert scores == pytest.approx((listed @ vectors[row]).tolist(), abs=1e-5) == sorted(scores, reverse=True)
        mine = generator.bundle.items.ids_of(generator.bundle.known.histories(np.array([row])).values).to_list()
        for one in interests:
            assert one.own == (one.because in mine)
            some += one.own
    assert some > 10


def test_a_short_list_begins_a_longer_one(generator):
    asked = {"user_ids": ["u003", "u005"], "interests": "smoothed"}
    short, long = generator.recommend(**asked, k=4), generator.recommend(**asked, k=20)
    assert short.item_ids == [items[:4] for items in long.item_ids]
    assert short.interest_of == [of_item[:4] for of_item in long.interest_of]


def test_interests_can_be_merged_by_weight(plain, generator, tmp_path):
    merged = CandidateGenerator.load(
        with_interests(plain, dataclasses.replace(CONFIG, order="weight"), out=tmp_path / "b")
    )
    asked = {"user_ids": ["u003"], "k": CONFIG.depth, "interests": "smoothed"}
    answer, by_user = merged.recommend(**asked), generator.recommend(**asked)
    assert set(answer.item_ids[0]) == set(by_user.item_ids[0]) and answer.item_ids != by_user.item_ids
    place = [0] * len(answer.interests[0])
    for interest, score in zip(answer.interest_of[0], answer.scores[0], strict=True):
        assert score == pytest.approx(answer.interests[0][interest].weight / (place[interest] + 0.5), rel=1e-6)
        place[interest] += 1


def test_a_history_alone_has_interests_and_no_history_has_none(generator):
    answer = generator.recommend(histories=[["sku-003", "sku-020"], ["sku-001"], []], k=5, interests="mixture")
    assert answer.sources == ["history", "history", "popularity"]
    assert {one.because for one in answer.interests[0]} <= {"sku-003", "sku-020"} and answer.interests[0][0].own
    assert [one.because for one in answer.interests[1]] == ["sku-001"] and answer.interest_of[1] == [0] * 5
    line = answer.to_json()[1]
    assert line["interests"] == [{"weight": 1.0, "because": "sku-001", "own": True}]
    assert "interests" not in generator.recommend(histories=[["sku-001"]], k=5, interests="unimodal").to_json()[0]


def test_people_and_frames_are_told_why(generator):
    answer = generator.recommend(histories=[["sku-001"], []], k=3, interests="mixture")
    assert repr(answer).count("(because you liked sku-001)") == 3
    frame = answer.to_frame()
    assert frame["because"].to_list() == ["sku-001"] * 3 + [None] * 3
    assert frame["weight"].to_list() == [1.0] * 3 + [None] * 3
    assert frame["own"].to_list() == [True] * 3 + [None] * 3
    assert "because" not in generator.recommend(histories=[["sku-001"]], k=3, interests="unimodal").to_frame().columns


def test_a_ranker_orders_what_interests_brought(folder, strings, tmp_path):
    torch.manual_seed(0)
    inputs = ranker_inputs(strings.dataset.schema, strings.vocabularies, strings.items)
    plan = EmbeddingPlan(kind="collisionless", width=4, initial_range=1.0)
    ranker = Ranker(RankerConfig(hidden=(8,), embeddings=plan), *inputs).eval()
    generator = CandidateGenerator.load(with_ranker(folder, ranker, inputs[1], tmp_path / "bundle"))
    asked = {"user_ids": ["u003"], "interests": "smoothed"}
    found = generator.recommend(**asked, k=20)
    ordered = generator.recommend(**asked, k=5, rerank=True, rerank_depth=20)
    assert set(ordered.item_ids[0]) <= set(found.item_ids[0]) and ordered.scores[0] == sorted(ordered.scores[0])[::-1]
    brought = dict(zip(found.item_ids[0], found.interest_of[0], strict=True))
    assert [brought[one] for one in ordered.item_ids[0]] == ordered.interest_of[0]


def test_more_than_there_is(generator):
    answer = generator.recommend(user_ids=["u003"], k=1000, interests="smoothed")
    seen = generator.bundle.known.histories(np.array([3])).values
    assert len(set(answer.item_ids[0])) == len(answer.item_ids[0]) == len(generator.bundle.items) - len(np.unique(seen))
    everything = generator.recommend(user_ids=["u003"], k=1000, interests="smoothed", exclude_seen=False)
    assert len(everything.item_ids[0]) == len(generator.bundle.items)


def test_the_bundle_says_which_retriever_answers(folder, plain, generator):
    assert Manifest.read(folder).retriever == "smoothed" and Manifest.read(plain).retriever == "unimodal"
    assert Manifest.read(folder).build_id != Manifest.read(plain).build_id
    asked = {"user_ids": ["u003"], "k": 9}
    assert generator.recommend(**asked).item_ids == generator.recommend(**asked, interests="smoothed").item_ids
    without = CandidateGenerator.load(plain)
    assert without.recommend(**asked).item_ids == generator.recommend(**asked, interests="unimodal").item_ids
    with pytest.raises(FieldError, match="stored without interests"):
        without.recommend(**asked, interests="smoothed")
    with pytest.raises(FieldError, match="interests is one of unimodal, mixture, smoothed, got 'both'"):
        generator.recommend(**asked, interests="both")


def test_items_that_came_since_are_brought_too(plain, tmp_path):
    config = dataclasses.replace(CONFIG, order="weight")
    generator = CandidateGenerator.load(with_interests(plain, config, out=tmp_path / "bundle"))
    bundle = generator.bundle
    near = bundle.index.vectors_of(np.array([7]))[0]
    generator.new_items.shelf = generator.new_items.shelf.with_new({"new": Placed(near, "A new thing")})
    answer = generator.recommend(histories=[["sku-007"]], k=5, interests="mixture")
    assert "new" in answer.item_ids[0]


def test_over_http(generator):
    client = TestClient(create_app(generator))
    body = {"user_ids": ["u003"], "k": 6, "interests": "mixture"}
    found = client.post("/candidates", json=body).json()["candidates"][0]
    assert found == generator.recommend(**body).to_json()[0] and len(found["interest_of"]) == 6
    refused = client.post("/candidates", json={**body, "interests": "both"})
    assert refused.status_code == 422 and refused.json()["detail"][0]["loc"][:2] == ["body", "interests"]
    records = {"dataframe_records": [{"user_id": "u003"}], "params": {"k": 6, "interests": "mixture"}}
    assert client.post("/invocations", json=records).json()["predictions"][0]["item_ids"] == found["item_ids"]
    version = client.get("/version").json()
    assert version["has_interests"] and version["retriever"] == "smoothed"


def test_from_the_command_line(folder, capsys):
    assert (
        main(["recommend", "--model", str(folder), "--user", "u003", "-k", "4", "--interests", "mixture", "--json"])
        == 0
    )
    assert len(json.loads(capsys.readouterr().out)[0]["interests"]) <= 3


def test_a_bundle_of_parts_that_do_not_belong_together(folder, plain, tmp_path):
    def broken(change) -> None:
        shutil.rmtree(tmp_path / "bundle", ignore_errors=True)
        shutil.copytree(folder, tmp_path / "bundle")
        change(tmp_path / "bundle")
        Manifest.read(tmp_path / "bundle").sealed(tmp_path / "bundle").write(tmp_path / "bundle")
        Bundle.load(tmp_path / "bundle")

    broken(lambda where: None)
    (tmp_path / "bundle" / "users.faiss").unlink()
    with pytest.raises(BundleError, match=r"the bundle lacks users\.faiss"):
        Bundle.load(tmp_path / "bundle")
    with pytest.raises(BundleError, match=r"users\.faiss has users"):
        broken(
            lambda where: [
                shutil.copy(where / f"items.faiss{end}", where / f"users.faiss{end}") for end in ("", ".json")
            ]
        )
    with pytest.raises(BundleError, match="cannot be used"):
        broken(lambda where: (where / "interests.json").write_text("{}"))

    def without(where) -> None:
        for name in ("interests.json", "interests.safetensors", "users.faiss", "users.faiss.json"):
            (where / name).unlink()

    with pytest.raises(BundleError, match="names the retriever 'smoothed', and the bundle has no such one"):
        broken(without)


def test_a_model_that_knows_users_by_ids_alone_has_interests_for_strangers(tiny, tmp_path):
    """As TwHIN's: nothing in the model reads a history, but a history is what interests are made of."""
    dataset = dataclasses.replace(tiny.make_dataset(), schema=FeatureSchema((Id("user_id"),), (Id("item_id"),)))
    prepared = tiny.prepared_of(dataset)
    config = TwoTowerConfig(
        dim=8, similarity="dot", embeddings=EmbeddingPlan(kind="collisionless", width=8, initial_range=1.0)
    )
    torch.manual_seed(0)
    model = make_retriever(config, dataset.schema, prepared.vocabularies, prepared.item_table).eval()
    generator = CandidateGenerator.load(with_interests(write_bundle(tmp_path / "bundle", model, prepared), CONFIG))
    told = {"user_ids": [None, "stranger", "u003"], "histories": [["sku-003", "sku-020"], [], None], "k": 5}
    smoothed, plain = generator.recommend(**told), generator.recommend(**told, interests="unimodal")
    assert smoothed.sources == ["history", "popularity", "user"]
    assert plain.sources == ["popularity", "popularity", "user"]
    assert {one.because for one in smoothed.interests[0] if one.own} == {"sku-003", "sku-020"}
    assert not smoothed.interests[1] and smoothed.interests[2]


def test_what_cannot_be_added(plain, tmp_path):
    with pytest.raises(InputError, match="the retriever is one of unimodal, mixture, smoothed, got 'best'"):
        with_interests(plain, CONFIG, "best", tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_interests_can_be_replaced_and_mapped_into_memory(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "bundle")
    with_interests(tmp_path / "bundle", InterestsConfig(neighbours=0, clusters=ClustersConfig(clusters=2)), "mixture")
    generator = CandidateGenerator.load(tmp_path / "bundle", mmap=True)
    assert generator.bundle.manifest.retriever == "mixture" and len(generator.bundle.interests.clusters) == 2
    assert generator.recommend(user_ids=["u003"], k=5).interests[0]
