"""Tuning a text encoder: what belongs together, what is learned, resuming, and what becomes of the encoder."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from pytorch_lightning.callbacks import Callback

from features.dataset import Dataset
from features.errors import InputError
from features.prepared import Prepared
from features.schema import FeatureSchema, Id, Sequence, Text
from features.sources.tables import write_tables
from features.splits import TRAIN, cold_items, leave_one_out, random_ratio
from features.text_pairs import PairsConfig, PairSource
from recsys.text_encoders import TextEncoderConfig
from recsys.text_encoders.loading import load_encoder
from serving.bundles.bundle import Bundle
from training.bundle_evaluation import evaluate_bundle
from training.cli import main
from training.config import as_dict, load_config
from training.data import prepare
from training.run_folder import open_folder
from training.runs import RunOptions, run
from training.sequential_config import SequentialTrainConfig
from training.text_batches import NearItems, TextBatches, belonging
from training.text_encoder import in_parts, text_figures, vectors_of
from training.text_encoder_config import TextEncoderTrainConfig
from training.text_encoder_run import Tuning, tune
from training.texts import note_on_tuning

SHELVES, ON_EACH = 6, 6
#: what stands on a shelf, and what is said of anything
NOUNS = [[f"noun{shelf}{n}" for n in range(ON_EACH)] for shelf in range(SHELVES)]
COMMON = ["fine", "large", "plain", "red", "small", "soft"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of random weights that knows the shop's words, and nothing of what they mean."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words = [*special, "title", "maker", ":", ";", *COMMON, *(word for shelf in NOUNS for word in shelf)]
    tokenizer = Tokenizer(models.WordPiece({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(words), **sizes, max_position_embeddings=40)).save_pretrained(folder)
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), special, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=40, **names).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def shop() -> Dataset:
    """Users who buy from one shelf; its items have nothing but their maker in common. Of one item nothing is said."""
    random = np.random.default_rng(0)
    items = [(f"i{shelf}{n}", shelf, n) for shelf in range(SHELVES) for n in range(ON_EACH)]
    table = pl.DataFrame(
        {
            "item_id": [one for one, _, _ in items],
            "title": [f"{COMMON[n]} {NOUNS[shelf][n]}" if (shelf, n) != (5, 5) else None for _, shelf, n in items],
            "maker": [COMMON[shelf] if (shelf, n) != (5, 5) else None for _, shelf, n in items],
        }
    )
    rows = [
        (f"u{user:02}", f"i{user % SHELVES}{n}", step, NOUNS[user % SHELVES][n])
        for user in range(60)
        for step, n in enumerate(random.permutation(ON_EACH))
    ]
    log = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp", "query"], orient="row")
    schema = FeatureSchema(user=(Sequence("history"),), item=(Id("item_id"), Text("title")))
    return Dataset.construct("shelves", log, table, None, schema)


@pytest.fixture(scope="module")
def prepared(shop: Dataset) -> Prepared:
    return Prepared.of(shop, leave_one_out(shop))


def _config(tiny: Path, *settings: str) -> TextEncoderTrainConfig:
    own = (
        "text.columns=[title,maker]",
        f"text.encoder.model={tiny}",
        "batch_size=16",
        "optimiser.lr=0.003",
        "optimiser.max_epochs=3",
    )
    return load_config(settings=[*own, *settings], kind=TextEncoderTrainConfig)


@pytest.fixture(scope="module")
def tuned(tiny: Path, prepared: Prepared, tmp_path_factory: pytest.TempPathFactory):
    """A whole tuning: its folder, losses and figures."""
    folder, losses = tmp_path_factory.mktemp("tuned"), []
    report = lambda figures, _: losses.append(figures["train/loss"])  # noqa: E731
    config = _config(tiny, "hard_negatives=2", "optimiser.max_epochs=6")
    return folder, losses, tune(config, prepared, folder, report=report)


def test_what_was_taken_together_comes_together(tuned) -> None:
    folder, losses, figures = tuned
    assert np.isfinite(losses).all() and losses[-1] < 0.8 * losses[0]
    for name in ("recall@20", "ndcg@10", "validation_ndcg@10"):
        assert figures[name] > figures[f"frozen_{name}"]
    assert figures["encoder"] == str(folder / "encoder") and 1 <= figures["best_epoch"] <= 6


def test_what_is_measured_is_what_was_written(tuned, prepared: Prepared) -> None:
    folder, _, figures = tuned
    encoder = load_encoder(TextEncoderConfig(str(folder / "encoder")))
    texts = [
        None if title is None else f"title: {title}; maker: {maker}"
        for title, maker in prepared.dataset.items.sort("item_id").select("title", "maker").iter_rows()
    ]
    found = text_figures(prepared, vectors_of(encoder, texts), "test")
    assert found == {name: figures[name] for name in found}
    assert sorted(one.name for one in folder.iterdir()) == ["checkpoints", "encoder"]


def _batches(tiny: Path, prepared: Prepared, *settings: str) -> tuple[TextBatches, PairSource]:
    config = _config(tiny, *settings)
    pairs = PairSource(prepared, config.text.columns, config.text.prefix, config.pairs)
    return TextBatches(pairs, config, load_encoder(config.text.encoder), lambda: 1), pairs


def test_batches_are_the_same_each_time_and_of_one_size(tiny: Path, prepared: Prepared) -> None:
    batches, pairs = _batches(tiny, prepared, "hard_negatives=2", "batch_size=10", "pairs.per_epoch=45")
    once, again = list(batches), list(batches)
    assert len(once) == len(batches) == 4 and len(pairs.draw(0)) == 45
    for one, other in zip(once, again, strict=True):
        assert (len(one.anchors), len(one.candidates), one.together.shape) == (10, 30, (10, 30))
        assert (one.anchors, one.candidates) == (other.anchors, other.candidates)
        assert torch.equal(one.together, other.together)


def test_an_epoch_of_fewer_pairs_has_as_many_batches(tiny: Path, prepared: Prepared, monkeypatch) -> None:
    batches, pairs = _batches(tiny, prepared, "batch_size=10", "pairs.per_epoch=45")
    few = PairSource(prepared, ("title",), "", dataclasses.replace(pairs.config, per_epoch=13))
    monkeypatch.setattr(batches, "_pairs", few)
    assert [len(one.anchors) for one in batches] == [10, 10, 10, 10]


@pytest.mark.parametrize("kind", ["co-engagement", "query", "attributes", "cloze"])
def test_what_belongs_together_is_no_negative(tiny: Path, prepared: Prepared, kind: str) -> None:
    """By brute force over what training users took within the window."""
    config = PairsConfig(kind, window=2, anchor_columns=("maker",))
    pairs = PairSource(prepared, ("title", "maker"), "", config)
    near = set()
    for user in range(len(prepared.train)):
        history = [item for item in prepared.train.row(user).tolist() if item in pairs.items]
        near |= {(a, b) for n, a in enumerate(history) for b in history[max(0, n - 2) : n + 3]}
    drawn = pairs.draw(3)
    size, more = min(12, len(drawn)), pairs.items[:9]
    anchors, items = drawn.anchor_items[:size], np.concatenate([drawn.items[:size], more])
    asked, told = drawn.anchors[:size], [*drawn.positives[:size], *pairs.text_of(more)]
    found = belonging(pairs, anchors, items, asked, told)
    for i in range(size):
        for j, (item, text) in enumerate(zip(items, told, strict=True)):
            right = item == items[i] or text == told[i] or (j < size and asked[j] == asked[i])
            right |= anchors[i] >= 0 and (anchors[i] == item or (anchors[i], item) in near)
            assert found[i, j] == (bool(right) and i != j), (i, j)
    assert not found.all() and found.any()


def test_hard_negatives_are_near_but_not_the_nearest(tiny: Path, prepared: Prepared) -> None:
    _, pairs = _batches(tiny, prepared)
    encoder = load_encoder(TextEncoderConfig(str(tiny))).train()
    near = NearItems(pairs, encoder)
    assert encoder.training and not any(one.training for one in load_encoder(TextEncoderConfig(str(tiny))).modules())
    vectors = encoder.eval().encode(pairs.text_of(pairs.items))
    ranks = np.argsort(np.argsort(-vectors @ vectors.T, axis=1, kind="stable"), axis=1)  # (m, m)
    items = np.repeat(pairs.items, 20)
    drawn = near.draw(items, 3, np.random.default_rng(0))
    place = np.searchsorted(pairs.items, [np.repeat(items, 3), drawn])
    assert ranks[place[0], place[1]].min() >= 9 and len(np.unique(drawn)) > 25


def test_many_long_texts_are_learned_from_in_parts_with_the_gradients_of_the_whole(tiny: Path) -> None:
    encoder = load_encoder(
        TextEncoderConfig(model=str(tiny), precision="fp32")
    ).eval()  # no dropout, which parts draw for themselves
    tokens = encoder.tokens([" ".join(COMMON[: 1 + n % 6]) for n in range(11)])
    asked = torch.linspace(-1, 1, 11 * encoder.size).view(11, -1)
    batches: list[int] = []
    encoder.register_forward_pre_hook(lambda _, given: batches.append(len(given[0]) * max(map(len, given[0]))))

    def learned(part_tokens: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
        encoder.zero_grad()
        vectors = in_parts(encoder, tokens, part_tokens)
        (vectors * asked).sum().backward()
        return vectors.detach(), [one.grad for one in encoder.parameters() if one.grad is not None]

    whole, expected = learned(10**6)
    assert len(batches) == 1
    batches.clear()
    parts, found = learned(16)
    assert max(batches) <= 16 and len(batches) >= 6  # each part twice: for the vectors, and for the gradients
    torch.testing.assert_close(parts, whole)
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


class _Stop(Callback):
    """Ends a tuning as its second epoch begins."""

    def on_train_epoch_start(self, trainer, module) -> None:
        if trainer.current_epoch == 1:
            raise RuntimeError("the power is out")


@pytest.mark.parametrize("settings", [("hard_negatives=1",), ("lora_rank=2", "optimiser.lr=0.01")])
def test_a_resumed_tuning_equals_an_undisturbed_one(
    tiny: Path, prepared: Prepared, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    config = _config(tiny, "optimiser.max_epochs=2", *settings)
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    whole = tune(config, prepared, tmp_path / "whole")
    with pytest.raises(RuntimeError, match="power"):
        tune(config, prepared, tmp_path / "broken", callbacks=[_Stop()])
    assert not (tmp_path / "broken" / "encoder").exists()
    resumed = tune(config, prepared, tmp_path / "broken", resume=True)
    assert {**whole, "seconds": 0, "encoder": ""} == {**resumed, "seconds": 0, "encoder": ""}
    states = [load_encoder(TextEncoderConfig(one["encoder"])).state_dict() for one in (whole, resumed)]
    assert all(torch.equal(weight, states[1][name]) for name, weight in states[0].items())


def test_matrices_of_a_low_rank_are_all_that_is_tuned(tiny: Path, prepared: Prepared, tmp_path: Path) -> None:
    class _Seen(Callback):
        def on_train_start(self, trainer, module) -> None:
            self.before = {name: weight.detach().clone() for name, weight in module.named_parameters()}

        def on_train_end(self, trainer, module) -> None:
            moved = {name for name, one in module.named_parameters() if not torch.equal(one, self.before[name])}
            assert moved and all("lora_" in name for name in moved)
            shapes = {tuple(one.shape) for name, one in module.named_parameters() if name in moved}
            assert all(4 in shape for shape in shapes)

    config, losses = _config(tiny, "lora_rank=4", "optimiser.lr=0.02", "optimiser.max_epochs=4"), []
    report = lambda figures, _: losses.append(figures["train/loss"])  # noqa: E731
    figures = tune(config, prepared, tmp_path, report=report, callbacks=[_Seen()])
    assert losses[-1] < losses[0]
    before, after = (load_encoder(TextEncoderConfig(str(one))).state_dict() for one in (tiny, figures["encoder"]))
    assert before.keys() == after.keys()  # the matrices have been added to the model's own
    moved = {name for name, weight in before.items() if not torch.equal(weight, after[name])}
    assert moved and all(before[name].dim() == 2 and "embeddings" not in name for name in moved)
    kept = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all("lora_" in name for name in kept)  # a large model is not written at each epoch


@pytest.mark.parametrize("pooling", ["latent", "layers"])
def test_what_is_tuned_is_never_rounded_to_bf16(tiny: Path, prepared: Prepared, tmp_path: Path, pooling: str) -> None:
    settings = ("lora_rank=4", f"text.encoder.pooling={pooling}", "text.encoder.precision=bf16")
    tuning = Tuning.of(_config(tiny, *settings, "optimiser.max_epochs=1", "optimiser.lr=0.01"), prepared)
    weights = dict(tuning.encoder.named_parameters())
    tuned = {name for name, weight in weights.items() if weight.requires_grad}
    assert any(name.startswith("pool.") for name in tuned) and len(tuned) < len(weights)
    assert {weights[name].dtype for name in tuned} == {torch.float32}
    assert {weight.dtype for name, weight in weights.items() if name not in tuned} == {torch.bfloat16}
    before = tuning.encoder.pool.latents.detach().clone()
    figures = tuning.run(tmp_path)
    after = load_encoder(TextEncoderConfig(figures["encoder"], precision="fp32"))
    assert after.pooling == pooling and not torch.equal(after.pool.latents.cpu(), before)
    as_bf16 = load_encoder(TextEncoderConfig(figures["encoder"], precision="bf16")).encode(["fine noun00"])
    assert (as_bf16 * after.encode(["fine noun00"])).sum() > 0.99


@pytest.mark.parametrize(
    "settings",
    [
        ("pairs.kind=query",),
        ("pairs.kind=attributes", "pairs.anchor_columns=[maker]", "hard_negatives=1"),
        ("pairs.kind=cloze",),
        (("text.encoder.dim=8", "text.encoder.pooling=latent", "pairs.per_epoch=32", "optimiser.max_epochs=2")),
    ],
)
def test_each_kind_of_pairs_trains(tiny: Path, prepared: Prepared, tmp_path: Path, settings: tuple[str, ...]) -> None:
    losses = []
    report = lambda figures, _: losses.append(figures["train/loss"])  # noqa: E731
    figures = tune(_config(tiny, *settings), prepared, tmp_path, report=report)
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    assert load_encoder(TextEncoderConfig(figures["encoder"])).encode(["fine noun00"]).shape == (1, 32)


def test_nothing_is_learned_of_withheld_items(tiny: Path, shop: Dataset, tmp_path: Path) -> None:
    """Whatever is said of them, the encoder becomes the same."""
    split = cold_items(shop, 0.1, 0.1)
    cold = Prepared.of(shop, split)
    withheld = pl.Series(cold.item_counts[cold.items.rows(shop.items["item_id"])] == 0)
    loud = shop.items.with_columns(title=pl.when(withheld).then(pl.lit("red red red red")).otherwise("title"))
    other = Prepared.of(dataclasses.replace(shop, items=loud), split)
    config = _config(tiny, "hard_negatives=1", "optimiser.max_epochs=1")
    found = []
    for name, data in (("cold", cold), ("other", other)):
        (tmp_path / name).mkdir()
        found.append(load_encoder(TextEncoderConfig(tune(config, data, tmp_path / name)["encoder"])).state_dict())
    assert all(torch.equal(weight, found[1][name]) for name, weight in found[0].items())


def test_a_bundle_carries_the_encoder_that_it_was_trained_with(
    tuned, shop: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where texts are kept
    shutil.copytree(tuned[0] / "encoder", tmp_path / "encoder")
    small = ["model.dim=8", "model.embeddings.width=8", "model.heads=1", "model.layers=1", "optimiser.max_epochs=1"]
    told = ["text.columns=[title,maker]", f"text.encoder.model={tmp_path / 'encoder'}", "model.fusion.kind=add"]
    config, said = load_config(settings=[*small, *told], kind=SequentialTrainConfig), []
    result = run(config, RunOptions(tmp_path / "run", track=False, say=said.append), prepare(config, shop))
    assert not any("tuned under" in line for line in said)
    shutil.rmtree(tmp_path / "encoder")
    shutil.rmtree(tmp_path / ".cache")
    bundle = Bundle.load(result.bundle)
    assert Path(bundle.text.config.encoder.model) == (result.bundle / "text_encoder").resolve()
    again = evaluate_bundle(result.bundle, Prepared.of(shop, leave_one_out(shop)))
    assert again["ndcg@10"] == result.figures["ndcg@10"]
    items = shop.items.head(3)
    read, kept = (
        bundle.text.vectors(items),
        bundle.item_table.filter(pl.col("item_id").is_in(items["item_id"].implode())),
    )
    assert np.allclose(read.to_numpy(), kept["text_vector"].to_numpy(), atol=1e-5)
    with pytest.raises(InputError, match="there is no folder"):
        prepare(config, shop)


def test_an_encoder_that_was_tuned_under_another_split_is_told(
    tuned, prepared: Prepared, shop: Dataset, tiny: Path, tmp_path: Path
) -> None:
    """What another split tests may be what its training users took near each other."""
    text = _config(tuned[0] / "encoder").text
    other = Prepared.of(shop, random_ratio(shop))
    assert note_on_tuning(text, prepared) is None and note_on_tuning(_config(tiny).text, other) is None
    assert "under another split of this data (leave-one-out) than this (random)" in note_on_tuning(text, other)
    newer = dataclasses.replace(shop, interactions=shop.interactions[:-6])
    assert note_on_tuning(text, Prepared.of(newer, random_ratio(newer))) is None
    assert note_on_tuning(dataclasses.replace(text, columns=()), other) is None
    told = [f"text.encoder.model={tuned[0] / 'encoder'}", "text.columns=[title]", f"text.store={tmp_path / 'store'}"]
    small, said = ("model.dim=8", "model.embeddings.width=8", "optimiser.max_epochs=1"), []
    config = load_config(settings=[*small, *told, "model.fusion.kind=add"])
    run(config, RunOptions(tmp_path / "run", track=False, say=said.append), prepare(config, shop))
    assert any(line.startswith("note: the text encoder was tuned under another split") for line in said)


def test_the_folder_that_holds_the_encoder_is_not_emptied_for_a_run(tuned) -> None:
    config = _config(tuned[0] / "encoder")
    (tuned[0] / "state.json").touch()
    with pytest.raises(InputError, match="holds the text encoder that the run reads texts by"):
        open_folder(tuned[0], config, {"dataset_hash": "0", "split_hash": "1"}, resume=False)
    (tuned[0] / "state.json").unlink()
    assert (tuned[0] / "encoder" / "config.json").exists()


@pytest.fixture
def command(tiny: Path, shop: Dataset, store: str, tmp_path: Path) -> list[str]:
    """The command line for the shop."""
    write_tables(shop, tmp_path / "shop")
    words = ["train", "text-encoder", "--data", "tables", "--root", str(tmp_path / "shop"), "--split", "leave-one-out"]
    settings = ("text.columns=[title,maker]", f"text.encoder.model={tiny}", "batch_size=16", "optimiser.lr=0.003")
    return [*words, *(word for one in settings for word in ("--set", one))]


def test_the_command_line_tunes_and_logs(command: list[str], capsys: pytest.CaptureFixture) -> None:
    import mlflow

    assert main([*command, "--json"]) == 0
    told = capsys.readouterr()
    figures = json.loads(told.out.splitlines()[-1])
    folder = Path("runs/text-encoder-tables-shop-co-engagement/s0")
    assert figures["encoder"] == str(folder / "encoder") and (folder / "encoder" / "config.json").is_file()
    assert json.loads((folder / "result.json").read_text())["figures"] == figures
    (logged,) = mlflow.search_runs(experiment_names=["text-encoder"], output_format="list")
    assert logged.data.metrics["frozen_ndcg_at_10"] == pytest.approx(figures["frozen_ndcg@10"])
    assert logged.data.params["pairs.kind"] == "co-engagement" and "validation/ndcg_at_10" in logged.data.metrics
    assert main(["train", "text-encoder", "--resume", "--run-dir", str(folder), "--no-mlflow"]) == 0
    assert "texts alone: recall@20" in capsys.readouterr().out


def test_all_settings_are_printed_and_read_again(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    settings = ["--set", "pairs.kind=attributes", "--set", "pairs.anchor_columns=[title]", "--set", "lora_rank=8"]
    assert main(["train", "text-encoder", "--print-config", *settings]) == 0
    (tmp_path / "config.yaml").write_text(capsys.readouterr().out)
    config = load_config(tmp_path / "config.yaml", kind=TextEncoderTrainConfig)
    assert (config.lora_rank, config.pairs.anchor_columns) == (8, ("title",))
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == as_dict(config)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--refit"], "--refit is for recommenders"),
        (["--register", "x"], "--register is for recommenders"),
        (["--from", "x"], "--from is for recommenders"),
        (["--into", "x"], "--into is for recommenders"),
        (["--seeds", "2"], "--seeds is 1 for a text encoder"),
        (["--set", "text.columns=[]"], "text.columns is empty"),
        (["--set", "text.columns=[colour]"], "text.columns names 'colour'"),
        (["--set", "text.encoder.model=./absent"], "no folder './absent'"),
        (["--set", "pairs.kind=query", "--set", "pairs.query_column=asked"], "pairs.query_column is 'asked'"),
        (["--set", "pairs.kind=attributes", "--set", "pairs.anchor_columns=[colour]"], "pairs.anchor_columns"),
        (["--set", "pairs.kind=rhyme"], "pairs.kind"),
        (["--set", "batch_size=1"], "batch_size is at least 2"),
        (["--set", "temperature=0"], "temperature is a positive number"),
        (["--set", "hard_negatives=-1"], "hard_negatives is 0 or more"),
        (["--set", "pairs.per_epoch=1"], "one pair of texts"),
        (["--split", "time", "--set", "split.settings.validation=0"], "no validation interaction"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_and_leaves_nothing(
    command: list[str], capsys: pytest.CaptureFixture, arguments: list[str], named: str
) -> None:
    assert main([*command, "--run-dir", "run", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and named in captured.err.splitlines()[-1]
    assert not Path("run").exists() and not Path("mlflow.db").exists()


def test_a_tuning_is_for_one_process(command: list[str], capsys: pytest.CaptureFixture, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(command) == 2
    assert "tuned by one process" in capsys.readouterr().err


def test_low_rank_without_its_library_is_told(tiny: Path, prepared: Prepared, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(InputError, match=r"lora_rank needs the extra 'text': pip install '\.\[text\]'"):
        Tuning.of(_config(tiny, "lora_rank=2"), prepared)


def test_data_without_pairs_is_told(tiny: Path, shop: Dataset) -> None:
    one_each = leave_one_out(shop)
    parts = np.where(one_each.parts == TRAIN, 3, one_each.parts)  # a history to go by, and nothing to train on
    nothing = Prepared.of(shop, dataclasses.replace(one_each, parts=parts.astype(np.uint8)))
    with pytest.raises(InputError, match="has no pairs of the kind 'co-engagement'"):
        Tuning.of(_config(tiny), nothing)
