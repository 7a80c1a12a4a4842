"""A quantised bundle: small on disk and in memory, its loss measured, its parts checked, the same lists everywhere."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from safetensors.torch import load_file, save_file

from features.errors import InputError
from recsys.embeddings import EmbeddingPlan
from recsys.index import IndexConfig
from recsys.retrievers import encode_catalogue
from serving.bundles.bundle import Bundle
from serving.bundles.manifest import Manifest
from serving.bundles.sealed import BundleError
from serving.bundles.writer import BundleConfig, write_bundle
from serving.candidates import CandidateGenerator
from serving.http.app import create_app

pytestmark = pytest.mark.filterwarnings("ignore:.*httpx.*")
TABLE = "embeddings.tables.pooled.embedding_bags.item_id"
LAYER = "user_tower.layers.0.bias"


@pytest.fixture(scope="module")
def folders_of(strings, tiny, tmp_path_factory):
    """One model of each family in each precision."""
    root, config = tmp_path_factory.mktemp("precision"), IndexConfig(recall_at=10)
    models = {family: tiny.model_for(strings, family=family) for family in tiny.families}
    return {
        family: {
            one: write_bundle(root / family / one, model, strings, config, precision=one)
            for one in ("fp32", "fp16", "int8")
        }
        for family, model in models.items()
    }


@pytest.fixture(scope="module")
def folders(folders_of):
    return folders_of["two-tower"]


def reseal(folder):
    Manifest.read(folder).sealed(folder).write(folder)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_it_is_quantised_in_memory_and_close_to_the_model(folders, strings, tiny, precision):
    bundle, model = Bundle.load(folders[precision]), tiny.model_for(strings)
    assert bundle.manifest.precision == bundle.index.precision == precision
    state = bundle.model.state_dict()
    assert state[f"{TABLE}.weight"].dtype == {"fp16": torch.float16, "int8": torch.uint8}[precision]
    assert not [name for name, _ in bundle.model.embeddings.named_parameters()]
    for name, weight in model.state_dict().items():
        if ".tables." not in name:
            assert torch.equal(state[name], weight.half().float())
    users = np.flatnonzero(strings.test_histories.lengths)
    batch = strings.user_features(users, strings.test_histories.rows(users))
    for mine, theirs in (
        (bundle.model.encode_users(batch), model.encode_users(batch)),
        (encode_catalogue(bundle.model, strings.item_table), encode_catalogue(model, strings.item_table)),
    ):
        difference = (mine - theirs).abs().max() / theirs.abs().max()
        assert 0 < difference < {"fp16": 1e-3, "int8": 0.02}[precision]


@pytest.mark.parametrize("family", ["two-tower", "sequential"])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_its_ranking_is_the_brute_force_one_of_what_is_stored(folders_of, strings, precision, family):
    generator = CandidateGenerator.load(folders_of[family][precision])
    assert generator.bundle.manifest.precision == precision
    bundle = generator.bundle
    users = np.flatnonzero(bundle.known.trained)
    histories = bundle.known.histories(users)
    batch = strings.user_features(users, histories)
    vectors = bundle.model.encode_users(batch).double().numpy()
    scores = (vectors @ bundle.index.stored(0).astype(np.float64).T).astype(np.float32)
    answer = generator.recommend(strings.users.ids_of(users), k=12)
    for n in range(len(users)):
        scores[n, histories.row(n)] = -np.inf
        order = np.argsort(-scores[n], kind="stable")[:12]
        assert answer.item_ids[n] == strings.items.ids_of(order).to_list()
        assert answer.scores[n] == pytest.approx(scores[n, order].tolist(), abs=1e-5)


def test_lists_over_http_are_those_in_process(folders, strings):
    generator = CandidateGenerator.load(folders["int8"])
    client = TestClient(create_app(CandidateGenerator.load(folders["int8"], mmap=True)))
    users, histories = [*strings.users.ids.to_list(), "stranger"], [None] * 40 + [["sku-004"]]
    answer = client.post("/candidates", json={"user_ids": users, "histories": histories, "k": 30}).json()
    assert answer["candidates"] == generator.recommend(users, histories, k=30).to_json()
    version = client.get("/version").json()
    assert (version["precision"], version["precision_loss"], version["reranks"]) == ("int8", {}, False)
    assert version["index"]["recall"] == generator.bundle.index.recall > 0.9


def test_it_is_smaller(strings, tiny, tmp_path):
    plan = EmbeddingPlan(kind="multiplexed", width=64, lookups=2)
    model = tiny.model_for(strings, embeddings=plan, dim=64, item_bias=False)
    sizes = {}
    for precision in ("fp32", "fp16", "int8"):
        folder = write_bundle(tmp_path / precision, model, strings, precision=precision)
        sizes[precision] = sum(
            one.numel() * one.element_size() for one in load_file(folder / "weights.safetensors").values()
        )
        CandidateGenerator.load(folder)
    tables, others = sum(one.numel() for one in model.embeddings.parameters()), 0
    others = sum(one.numel() for one in model.parameters()) - tables
    assert sizes["fp32"] == 4 * (tables + others)
    assert sizes["fp16"] == 2 * (tables + others)
    assert sizes["int8"] == tables * 36 / 32 + 4 + 2 * others


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_other_indexes_are_quantised_too(strings, tiny, tmp_path, kind):
    config = IndexConfig(kind, recall_at=10, probes=4)
    folder = write_bundle(tmp_path / "b", tiny.model_for(strings), strings, config, precision="int8")
    generator = CandidateGenerator.load(folder)
    assert generator.bundle.index.precision == "int8"
    assert 0.5 < generator.bundle.manifest.index["recall"] <= 1
    assert len(generator.recommend(["u001"], k=5).item_ids[0]) == 5


def test_the_build_differs_with_the_precision(folders):
    assert len({Manifest.read(folder).build_id for folder in folders.values()}) == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.pop(f"{TABLE}.scale"), f"lacks '{TABLE}.scale'"),
        (lambda w: w.update({f"{TABLE}.zero": torch.ones(1)}), f"has the unknown '{TABLE}.zero'"),
        (lambda w: w.update({f"{TABLE}.weight": w[f"{TABLE}.weight"][1:]}), rf"{TABLE}.weight has the shape \(60, 8\)"),
        (lambda w: w.update({f"{TABLE}.offset": w[f"{TABLE}.offset"][:5]}), rf"{TABLE}.offset has the shape \(5,\)"),
        (
            lambda w: w.update({f"{TABLE}.weight": w[f"{TABLE}.weight"].float()}),
            f"{TABLE}.weight is of type float32, and in a model of precision int8 it is of type uint8",
        ),
        (
            lambda w: w.update({f"{TABLE}.scale": w[f"{TABLE}.scale"].float()}),
            f"{TABLE}.scale is of type float32, .* float16",
        ),
        (lambda w: w.update({LAYER: w[LAYER].float()}), f"{LAYER} is of type float32, .* float16"),
    ],
)
def test_damaged_quantised_weights_are_named(folders, tmp_path, change, words):
    folder = shutil.copytree(folders["int8"], tmp_path / "bundle")
    weights = load_file(folder / "weights.safetensors")
    change(weights)
    save_file(weights, folder / "weights.safetensors")
    reseal(folder)
    with pytest.raises(BundleError, match=f"^weights.safetensors:? {words}") as caught:
        Bundle.load(folder)
    assert "\n" not in str(caught.value)


def test_parts_of_two_precisions_are_refused(folders, tmp_path):
    folder = shutil.copytree(folders["int8"], tmp_path / "bundle")
    shutil.copy(folders["fp16"] / "weights.safetensors", folder)
    reseal(folder)
    with pytest.raises(BundleError, match=r"weights\.safetensors lacks 'embeddings\.tables\..*offset'"):
        Bundle.load(folder)
    shutil.copy(folders["int8"] / "weights.safetensors", folder)
    for name in ("items.faiss", "items.faiss.json"):
        shutil.copy(folders["fp16"] / name, folder)
    reseal(folder)
    with pytest.raises(BundleError, match=r"items\.faiss is of precision fp16, and the bundle of int8"):
        Bundle.load(folder)


def test_what_cannot_be_quantised_is_named_and_nothing_is_written(strings, tiny, tmp_path):
    model = tiny.model_for(strings)
    with torch.no_grad():
        model.state_dict()[f"{TABLE}.weight"][3, 0] = float("nan")
    with pytest.raises(InputError, match=f"^{TABLE}.weight cannot be quantised: row 3 holds nan"):
        write_bundle(tmp_path / "b", model, strings, precision="int8")
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="precision is 'int4', not 'fp32', 'fp16' or 'int8'"):
        write_bundle(tmp_path / "b", model, strings, precision="int4")
    with pytest.raises(InputError, match=r"bundle\.precision is 'half', not"):
        BundleConfig("half")


def test_hashes_of_a_quantised_bundle_are_checked(folders, tmp_path):
    folder = shutil.copytree(folders["int8"], tmp_path / "bundle")
    data = bytearray((folder / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(data)
    with pytest.raises(BundleError, match=r"^weights\.safetensors has the sha256"):
        Bundle.load(folder)
    dataclasses.replace(Manifest.read(folder), metrics={}).sealed(folder).write(folder)
    Bundle.load(folder)
