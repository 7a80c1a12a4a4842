"""Configurations: files, settings, what wins, and what is refused by name."""

from pathlib import Path

import pytest
import yaml

from features.errors import InputError
from recsys.fusion_config import FusionConfig
from recsys.text_encoders import ItemTextConfig, TextEncoderConfig
from training.config import TrainConfig, as_dict, flat, load_config
from training.sequential_config import SequentialTrainConfig


def test_a_configuration_survives_its_file(tmp_path: Path) -> None:
    config = load_config(
        settings=["model.user_hidden=[32,16]", "data.settings.seed=3", "loss.settings.temperature=0.5"]
    )
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(as_dict(config)))
    assert load_config(tmp_path / "config.yaml") == config
    assert flat(config)["model.embeddings.kind"] == "multiplexed"


def test_arguments_win_over_settings_which_win_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("seed: 1\nmodel: {dim: 8, dropout: 0.25}\n")
    config = load_config(tmp_path / "c.yaml", ["model.dim=9", "seed=2"], seed=3)
    assert (config.model.dropout, config.model.dim, config.seed) == (0.25, 9, 3)


def test_nothing_given_is_the_defaults() -> None:
    assert load_config() == TrainConfig()


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("modle.dim=3", "modle"),
        ("model.dmi=3", "dmi"),
        ("model.dim=three", "model.dim"),
        ("model.embeddings.kind=hash", "kind"),
        ("model.embeddings.width=0", "width"),
        ("model.dim", "key=value"),
        ("optimiser.lr=-1", "lr"),
        ("index.kind=flat", "kind"),
        ("text.columns=title", r"'text\.columns' is a list, such as \[one,two\], got 'title'"),
        ("model.fusion=add", r"'model\.fusion' is a group of settings, got 'add'"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(setting: str, named: str) -> None:
    with pytest.raises(InputError, match=named) as raised:
        load_config(settings=[setting])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "named"), [("- 1\n", "mapping"), ("model: {dim: [", "YAML"), ("model: {dmi: 3}", "dmi")]
)
def test_a_wrong_file_is_named(tmp_path: Path, content: str, named: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=named):
        load_config(path)
    with pytest.raises(InputError, match=r"absent\.yaml"):
        load_config(tmp_path / "absent.yaml")


@pytest.mark.parametrize("kind", [TrainConfig, SequentialTrainConfig])
def test_texts_and_their_fusion_survive_a_file(tmp_path: Path, kind: type) -> None:
    settings = [
        "text.columns=[title,brand]",
        "text.prefix=query: ",
        "text.encoder.dim=64",
        "text.encoder.pooling=mean",
        "text.encoder.bidirectional=true",
        "model.fusion.kind=add",
        "model.fusion.hidden=[32]",
        "model.fusion.align=con",
        "data.new_items=new.jsonl",
    ]
    config = load_config(settings=settings, kind=kind)
    assert config.text == ItemTextConfig(
        ("title", "brand"), "query: ", encoder=TextEncoderConfig(dim=64, pooling="mean", bidirectional=True)
    )
    assert config.model.fusion == FusionConfig("add", hidden=(32,), align="con")
    assert config.data.new_items == "new.jsonl"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(as_dict(config)))
    assert load_config(tmp_path / "config.yaml", kind=kind) == config
    assert flat(config)["text.columns"] == ["title", "brand"] and flat(config)["model.fusion.align"] == "con"
    again = load_config(tmp_path / "config.yaml", ["model.fusion.kind=concat", "text.columns=[title]"], kind=kind)
    assert (again.model.fusion.kind, again.model.fusion.hidden, again.text.columns) == ("concat", (32,), ("title",))


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("model.fusion.kind=mix", r"model\.fusion\.kind.*one of none, add"),
        ("model.fusion.learned=65", r"model\.fusion\.learned is 65|learned"),
        ("model.fusion.align_share=1", "align_share"),
        ("text.encoder.pooling=max", "pooling"),
        ("text.encoder.dim=-1", "dim"),
        ("text.column=title", "column"),
    ],
)
def test_a_wrong_setting_of_texts_is_named(setting: str, named: str) -> None:
    with pytest.raises(InputError, match=named) as raised:
        load_config(settings=[setting, *(["model.fusion.kind=alphafuse"] if "learned" in setting else [])])
    assert "\n" not in str(raised.value)
