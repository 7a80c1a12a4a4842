"""How a bundle says what texts are made of, with the language model carried along, and a real one from end to end."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.dataset import Dataset
from features.errors import InputError
from recsys.fusion import FusionConfig, fit_texts
from recsys.text_encoders import ItemTextConfig, TextEncoderConfig
from serving.bundles.bundle import Bundle
from serving.bundles.item_texts import BundleText, can_be_said
from serving.bundles.manifest import Manifest
from serving.bundles.sealed import BundleError
from serving.bundles.writer import write_bundle
from serving.candidates import CandidateGenerator


@pytest.fixture
def folder(told, tmp_path):
    return shutil.copytree(told.folders["two-tower"], tmp_path / "bundle")


def test_the_language_model_of_a_folder_is_carried(told):
    manifest = Manifest.read(told.folders["two-tower"])
    carried = {"text.json", "text_encoder/model.safetensors", "text_encoder/1_Pooling/config.json"}
    assert carried < set(manifest.files)
    assert manifest.has_text
    said = json.loads((told.folders["two-tower"] / "text.json").read_text())
    assert str(told.folders["two-tower"].parents[1]) not in json.dumps(said)  # it means the same elsewhere
    text = Bundle.load(told.folders["two-tower"]).text
    assert text.config.columns == told.text.columns
    assert Path(text.config.encoder.model) == (told.folders["two-tower"] / "text_encoder").resolve()
    assert text.config.store == ""
    for path in (told.folders["two-tower"] / "text_encoder").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)
    plain = {"title": pl.String, "maker": pl.String, "year": pl.Float64, "note": pl.String, "since": pl.Date}
    assert text.types == plain


def test_the_texts_of_new_items_are_read_as_the_others_were(told, word_encoder):
    text = Bundle.load(told.folders["sequential"], hashes=False).text
    items = told.prepared.dataset.items
    found = text.vectors(items.drop("text_vector"))
    assert found.is_null().to_list() == (items["item_id"] == "sku-007").to_list()
    assert np.array_equal(found.drop_nulls().to_numpy(), items["text_vector"].drop_nulls().to_numpy())
    assert text.vectors(pl.DataFrame({"title": [None, None]}, schema={"title": pl.String})).null_count() == 2


def test_one_with_a_public_name_is_not(told, tmp_path, monkeypatch):
    public = tmp_path / "hub"
    shutil.copytree(told.text.encoder.model, public)
    monkeypatch.setattr("recsys.text_encoders.folders.folder_of", lambda model, revision="": public)
    text = dataclasses.replace(told.text, encoder=TextEncoderConfig("some/model", "v1"), store=str(tmp_path / "store"))
    folder = write_bundle(tmp_path / "b", told.models["two-tower"], told.prepared, text=text)
    assert not (folder / "text_encoder").exists()
    found = Bundle.load(folder).text.config
    assert (found.encoder.model, found.encoder.revision, found.store) == ("some/model", "v1", "")


def test_another_model_than_the_one_it_was_trained_with_is_refused_when_it_is_needed(told, tmp_path, monkeypatch):
    public = tmp_path / "hub"
    shutil.copytree(told.text.encoder.model, public)
    monkeypatch.setattr("recsys.text_encoders.folders.folder_of", lambda model, revision="": public)
    text = dataclasses.replace(told.text, encoder=TextEncoderConfig("some/model"))
    folder = write_bundle(tmp_path / "b", told.models["two-tower"], told.prepared, text=text)
    (public / "config.json").write_text('{"tuned": true}')
    generator = CandidateGenerator.load(folder)
    assert generator.recommend(["u003"]).sources == ["user"]
    words = "^the text encoder 'some/model' that is found here is not the one that this model was trained with$"
    for _ in range(2):  # nor is it taken the second time
        with pytest.raises(InputError, match=words):
            generator.new_items.add([("soap", {"title": "Soap"})])
    assert len(generator.new_items) == 0


def test_a_model_that_is_nowhere_makes_no_bundle(told, tmp_path):
    text = dataclasses.replace(told.text, encoder=TextEncoderConfig("./nowhere"))
    with pytest.raises(InputError, match=r"there is no folder '\./nowhere'"):
        write_bundle(tmp_path / "b", told.models["two-tower"], told.prepared, text=text)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["text.json", "text_encoder/config.json", "text_encoder/1_Pooling/config.json"])
def test_a_changed_byte_of_what_is_carried_is_found(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1] + b" ")
    with pytest.raises(BundleError, match=f"^{name} has the sha256"):
        Bundle.load(folder)
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"^the bundle lacks {name}, which its manifest.json lists"):
        Bundle.load(folder, hashes=False)


@pytest.mark.parametrize(
    "name",
    [
        "../secret.json",
        "text_encoder/../../secret.json",
        "text_encoder/./config.json",
        "text_encoder//config.json",
        "/etc/passwd",
        "text_encoder\\config.json",
        "text_encoder/a\0b.json",
        "other/config.json",
        "text_encoder/",
        "..",
        "",
    ],
)
def test_a_manifest_names_files_inside_the_bundle_alone(folder, name):
    data = json.loads((folder / "manifest.json").read_text())
    data["files"][name] = {"bytes": 2, "sha256": "0" * 64}
    (folder / "manifest.json").write_text(json.dumps(data))
    with pytest.raises(BundleError, match="which is no name of a file in the bundle"):
        Bundle.load(folder)


def test_a_bundle_that_says_nothing_of_texts_still_recommends(told, tmp_path):
    """Its items have vectors from elsewhere, so that nobody knows what a new item's would be."""
    folder = write_bundle(tmp_path / "b", told.models["two-tower"], told.prepared)
    generator = CandidateGenerator.load(folder)
    assert generator.bundle.text is None
    asked = generator.recommend(["u003"], k=5)
    assert asked.item_ids == CandidateGenerator.load(told.folders["two-tower"]).recommend(["u003"], k=5).item_ids
    assert generator.new_items.add([("soap", {"genres": "a"}), ("ink", {"text_vector": [0.5] * 16})]) == 2


def test_without_the_libraries_of_language_models_it_recommends_and_says_what_is_missing(told, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    generator = CandidateGenerator.load(told.folders["two-tower"], hashes=False)
    assert generator.recommend(["u003"]).sources == ["user"]
    with pytest.raises(InputError, match=r"needs the extra 'text': pip install '\.\[text\]'"):
        generator.new_items.add([("soap", {"title": "Soap"})])


@pytest.mark.parametrize(
    ("dtype", "can"),
    [
        (pl.String(), True),
        (pl.Enum(["a"]), True),
        (pl.Categorical(), True),
        (pl.UInt8(), True),
        (pl.Boolean(), True),
        (pl.List(pl.Int64()), True),
        (pl.Array(pl.Float32(), 3), True),
        (pl.Date(), True),
        (pl.Datetime("us"), True),
        (pl.List(pl.Date()), False),
        (pl.Duration(), False),
        (pl.Null(), False),
        (pl.Binary(), False),
        (pl.Struct({"a": pl.String()}), False),
        (pl.List(pl.List(pl.String())), False),
    ],
)
def test_what_json_can_say_of_an_item(dtype, can):
    assert can_be_said(dtype) is can


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory) -> Path:
    """A BERT with random weights, as small as can be, and its tokenizer."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    texts = [f"title: Thing number {n}; maker: Ada Bo Cy; note: red blue green" for n in range(60)]
    tokenizer.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=64,
        # else what tells a pair's texts apart would not be given
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **names,
    ).save_pretrained(folder)
    BertModel(
        BertConfig(
            vocab_size=tokenizer.get_vocab_size(), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=64, max_position_embeddings=64,
        )
    ).save_pretrained(folder)  # fmt: skip
    return folder


@pytest.mark.parametrize("family", ["two-tower", "sequential"])
def test_a_new_item_that_arrives_as_text_is_read_by_a_real_language_model(
    strings, tiny, tmp_path, tiny_bert, family, monkeypatch
):
    from recsys.text_encoders.items import item_vectors

    text = ItemTextConfig(("title",), encoder=TextEncoderConfig(str(tiny_bert), precision="fp32"), store=str(tmp_path))
    data = strings.dataset
    plain = Dataset.construct("texts", data.interactions, data.items, data.users, data.schema)
    prepared = tiny.prepared_of(plain.with_vectors(item_vectors(plain.items, text).vectors, text.feature))
    model = tiny.model_for(prepared, family=family, fusion=FusionConfig("add"))
    fit_texts(model, prepared.item_table.dense[text.feature])
    folder = write_bundle(tmp_path / family, model, prepared, text=text)
    # the bundle has all that it takes, wherever it goes
    moved = shutil.copytree(folder, tmp_path / "elsewhere" / family)
    generator = CandidateGenerator.load(moved, new_items=tmp_path / "new.jsonl")
    assert generator.new_items.add([("soap", {"title": "Thing number 12"}), ("long", {"title": "red " * 50_000})]) == 2
    answer = generator.recommend(["u003"], k=99, exclude_seen=False)
    assert {"soap", "long"} < set(answer.item_ids[0])
    shelf = generator.new_items.shelf
    # what the catalogue's item of that title would be, without its id and genres
    expected = item_vectors(pl.DataFrame({"title": ["Thing number 12"]}), text).vectors
    read = generator.bundle.text.vectors(pl.DataFrame({"title": ["Thing number 12", None]}))
    assert read[0].to_list() == pytest.approx(expected[0].to_list(), abs=1e-5)
    assert read[1] is None
    assert shelf.ids_of(np.array([60, 61])) == ["long", "soap"]
    monkeypatch.setattr("recsys.text_encoders.items._default_store", lambda: tmp_path / "store")
    CandidateGenerator.load(moved, new_items=tmp_path / "new.jsonl")
    for module in ("loading", "items"):  # what was read at one start is not read at the next one
        monkeypatch.setattr(f"recsys.text_encoders.{module}.load_encoder", None)
    again = CandidateGenerator.load(moved, new_items=tmp_path / "new.jsonl")
    assert again.recommend(["u003"], k=99, exclude_seen=False).item_ids == answer.item_ids
    assert not BundleText.read(moved).config.store
