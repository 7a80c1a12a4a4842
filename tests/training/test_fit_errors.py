"""What goes wrong before or between epochs is one sentence, whatever state the tables are in."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from features.errors import InputError
from training import sharded_checkpoints, sharding_plan
from training.config import load_config
from training.two_tower_fit import fit

SMALL = ("model.dim=16", "model.embeddings.width=16", "examples.batch_size=64", "optimiser.max_epochs=1")


def test_a_sharding_that_the_device_does_not_offer_is_named(small_prepared, tmp_path: Path) -> None:
    config = load_config(settings=[*SMALL, "optimiser.tables=sgd", "optimiser.sharding=row_wise"])
    with pytest.raises(InputError, match=r"cannot be sharded as 'row_wise' over 1 cpu process.*on CPUs, pooled tables"):
        fit(config, small_prepared, tmp_path)


def test_tables_that_do_not_fit_are_told(small_prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharding_plan, "free_memory", lambda: 1000)
    config = load_config(settings=[*SMALL, "optimiser.tables=rowwise-adagrad"])
    with pytest.raises(InputError, match=r"the tables \(0.0 GB of weights"):
        fit(config, small_prepared, tmp_path)


def test_damaged_sharded_checkpoints_are_named(small_prepared, tmp_path: Path) -> None:
    config = load_config(settings=[*SMALL, "optimiser.tables=rowwise-adagrad"])
    fit(config, small_prepared, tmp_path / "whole")
    for name in ("rest.pt", ".metadata", "__0_0.distcp"):
        shutil.copytree(tmp_path / "whole", tmp_path / name)
        (tmp_path / name / "last.ckpt" / name).write_bytes(b"garbage")
        with pytest.raises(InputError, match="is damaged or is of another model"):
            fit(config, small_prepared, tmp_path / name, resume=True)


def test_a_kill_between_renames_loses_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"
    save = sharded_checkpoints.save
    save(path, {"state_dict": {"a": torch.zeros(3)}}, {"epoch": 0}, json.dumps([]))
    path.rename(tmp_path / "last.ckpt.old")  # as a kill leaves it
    removed = []
    monkeypatch.setattr(sharded_checkpoints.shutil, "rmtree", lambda one, **_: removed.append(Path(one).name))
    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        if Path(target) == path:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        save(path, {"state_dict": {"a": torch.ones(3)}}, {"epoch": 1}, json.dumps([]))
    assert "last.ckpt.old" not in removed
    assert sharded_checkpoints.found(path) == tmp_path / "last.ckpt.old"
    weights = {"a": torch.ones(3)}
    assert sharded_checkpoints.read_plain(tmp_path / "last.ckpt.old", weights)["epoch"] == 0
    assert weights["a"].sum() == 0
