"""Configurations: files, settings, what wins, and what is refused by name."""

from pathlib import Path

import pytest
import yaml

from features.errors import InputError
from training.config import TrainConfig, as_dict, flat, load_config


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
