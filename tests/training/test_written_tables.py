"""Tables that verbs write: nothing that is read is written over, and what cannot be written is told at once."""

import argparse
from pathlib import Path

import polars as pl
import pytest

from features.errors import InputError
from training.commands.written_tables import check_out, written_in_one_step


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"out": "x.txt"}, r"--out ends in \.csv or \.parquet"),
        ({"out": "nowhere/x.csv"}, "there is no folder .*nowhere to write x.csv into"),
        ({"out": "shop.csv", "left": "shop.csv"}, r"--out is .*shop\.csv, which is --left as well"),
        ({"out": "shop.csv", "left": "a.csv", "pairs": ["b.csv", "shop.csv"]}, "which is --pairs as well"),
        ({"out": "shop.csv", "sources": ["a=a.csv", "mine=shop.csv"]}, "which is the source mine as well"),
    ],
)
def test_what_cannot_be_written_is_told_before_anything_is_read(
    told: dict, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = argparse.Namespace(**{name: Path(one) if name == "out" else one for name, one in told.items()})
    with pytest.raises(InputError, match=message):
        check_out(asked)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_takes_no_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    asked, table = argparse.Namespace(out=tmp_path / "x.csv"), pl.DataFrame({"a": [1]})
    with monkeypatch.context() as patch:
        patch.setattr(Path, "touch", refused)
        with pytest.raises(InputError, match=r"x\.csv cannot be written: Permission denied"):
            check_out(asked)
    check_out(asked)
    written_in_one_step(pl.DataFrame({"a": [0]}), asked.out)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refused)
        with pytest.raises(InputError, match="cannot be written"):
            written_in_one_step(table, asked.out)
    assert [one.name for one in tmp_path.iterdir()] == ["x.csv"] and pl.read_csv(asked.out)["a"].to_list() == [0]
