from pathlib import Path

import pytest

from features.errors import InputError
from features.sources.libfm import read_libfm


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_files_become_one_table_with_a_column_a_field(tmp_path: Path) -> None:
    one = written(tmp_path, "one.libfm", "1 266:1 1244:1\n-1 138:1 1296:1 \n")
    other = written(tmp_path, "two.libfm", "0 7:1 9:1\r\n\n")
    frame = read_libfm([one, other])
    assert frame.to_dict(as_series=False) == {"label": [1, 0, 0], "field_0": [266, 138, 7], "field_1": [1244, 1296, 9]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("1 2:1 3:1\n1 2:1\n", r"line 2 of .* does not have 2 fields as the first one has: '1 2:1'"),
        ("1 2:1\n1 2:0.5\n", r"line 2 of .* has a field 1 that is not written index:1"),
        ("1 2:1\nyes 2:1\n", r"line 2 of .* has no whole number as its label"),
        ("1 x:1\n", r"line 1 of .* has no whole number as its field 1"),
        ("3 2:1\n", r"line 1 of .* has a label other than 1, 0 and -1"),
    ],
)
def test_what_is_not_such_a_file_is_refused_by_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_libfm([written(tmp_path, "bad.libfm", text)])


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_libfm([tmp_path / "none.libfm"])
