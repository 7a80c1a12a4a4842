"""MovieLens-1M's format, on a folder and a zip in miniature."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from features.errors import InputError
from features.sources import download, load, movielens

FILES = {
    "ratings.dat": "1::10::5::978300760\n1::20::3::978302109\n2::20::4::978301968\n",
    "movies.dat": (
        "10::Cité des enfants perdus, La (1995)::Adventure|Sci-Fi\n20::M*A*S*H (1970)::Comedy|War\n30::Unseen::Drama\n"
    ),
    "users.dat": "1::F::1::10::48067\n2::M::56::16::07002-1234\n",
}


def _folder(path: Path, **changed: str) -> Path:
    path.mkdir(exist_ok=True)
    for name, text in FILES.items():
        (path / name).write_bytes(changed.get(name.removesuffix(".dat"), text).encode("latin-1"))
    return path


def _zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ml-1m/README", "read me\n" * 1000)
        for name, text in FILES.items():
            archive.writestr(f"ml-1m/{name}", text.encode("latin-1"))
    return path


def test_the_official_files_are_read(tmp_path: Path) -> None:
    dataset = load("ml-1m", _folder(tmp_path / "ml-1m"))
    assert dataset.interactions.rows() == [(1, 10, 978300760, 5), (2, 20, 978301968, 4)]
    assert dataset.items.rows() == [
        (10, "Cité des enfants perdus, La", 1995, "Adventure|Sci-Fi"),
        (20, "M*A*S*H", 1970, "Comedy|War"),
        (30, "Unseen", None, "Drama"),
    ]
    assert dataset.users.rows()[1] == (2, "M", 56, 16, "07002-1234")
    assert load("ml-1m", tmp_path / "ml-1m", min_rating=0).interactions.height == 3


def test_zip_folder_and_folder_of_either_are_the_same(tmp_path: Path) -> None:
    expected = load("ml-1m", _folder(tmp_path / "ml-1m")).sha256
    (tmp_path / "zips").mkdir()
    archive = _zip(tmp_path / "zips" / "ml-1m.zip")
    assert {load("ml-1m", root).sha256 for root in (tmp_path, archive, archive.parent)} == {expected}


@pytest.mark.parametrize("kept", [0.2, 0.6, 0.98])
def test_a_truncated_zip_is_told(tmp_path: Path, kept: float) -> None:
    path = _zip(tmp_path / "ml-1m.zip")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(InputError, match=r"ml-1m\.zip is not a whole zip file"):
        load("ml-1m", path)


def test_a_damaged_zip_is_told(tmp_path: Path) -> None:
    path = _zip(tmp_path / "ml-1m.zip")
    content = bytearray(path.read_bytes())
    at = content.index(b"ml-1m/ratings.dat") + len("ml-1m/ratings.dat") + 5
    content[at : at + 8] = bytes(8)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"ml-1m\.zip is not a whole zip file"):
        load("ml-1m", path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"ratings": FILES["ratings.dat"] + "2::30::4\n"},
            "line 4 of ratings.dat has 3 fields separated by '::', not 4",
        ),
        ({"ratings": "1::10::five::978300760\n"}, "line 1 of ratings.dat has 'five' as its weight, not a whole number"),
        ({"users": ""}, "users.dat of .* is empty"),
        ({"movies": FILES["movies.dat"] * 2}, "holds 3 ids more than once, such as 10"),
        ({"ratings": "1::10::2::978300760\n"}, "the interactions are empty"),
    ],
)
def test_bad_lines_are_told_by_number(tmp_path: Path, changed: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load("ml-1m", _folder(tmp_path / "ml-1m", **changed))


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds neither ratings\.dat nor a zip"):
        load("ml-1m", tmp_path)
    with pytest.raises(InputError, match="there is no"):
        load("ml-1m", tmp_path / "nowhere")
    with pytest.raises(InputError, match="min_rating is 0 to 5, got 7"):
        load("ml-1m", tmp_path, min_rating=7)


def test_it_is_fetched_once_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = _zip(tmp_path / "ml-1m.zip")
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(movielens, "URL", published.as_uri())
    with pytest.raises(InputError, match=r"came with md5 .*, not c4d9eecfca2ab87c1945afe126590906 as published"):
        load("ml-1m")
    assert not any((tmp_path / "cache").iterdir())  # nothing that looks whole is left
    monkeypatch.setattr(movielens, "MD5", hashlib.md5(published.read_bytes()).hexdigest())
    dataset = load("ml-1m")
    published.unlink()
    assert load("ml-1m").sha256 == dataset.sha256
    (tmp_path / "cache" / "ml-1m.zip").write_bytes(b"cut")
    with pytest.raises(InputError, match=r"cannot be fetched .*; give the path of a copy as root"):
        load("ml-1m")


def test_the_cache_is_where_users_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECSYS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert download.cache_folder() == Path("/somewhere/recsys-unified")
