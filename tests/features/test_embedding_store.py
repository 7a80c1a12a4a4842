"""Vectors on disk: what is in is in, whatever is killed, put together or damaged."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from features.embedding_store import EmbeddingStore, keys_of
from features.errors import InputError

ROOT = Path(__file__).parents[2]
ENCODER = {"fingerprint": "abc", "dim": 0}


def vectors_of(texts: list[str], width: int = 3) -> np.ndarray:
    """Something that tells texts apart. (n, V)"""
    return np.array([[len(one), *map(ord, f"{one:<9}"[: width - 1])] for one in texts], np.float32).reshape(-1, width)


def filled(folder: Path, *chunks: list[str]) -> EmbeddingStore:
    store = EmbeddingStore(folder, ENCODER)
    for texts in chunks:
        store.add(keys_of(texts), vectors_of(texts))
    return store


def files(store: EmbeddingStore) -> list[str]:
    return sorted(path.name for path in store.folder.glob("*.safetensors"))


def child(code: str, *arguments: object) -> subprocess.Popen:
    """A process that has the store of the folder `arguments[0]`."""
    begin = (
        "import sys, numpy as np\n"
        "from features.embedding_store import EmbeddingStore, keys_of\n"
        f"store = EmbeddingStore(sys.argv[1], {ENCODER!r})\n"
    )
    command = [sys.executable, "-c", begin + code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.lists(st.text(max_size=4), max_size=5), st.booleans()), max_size=8))
def test_a_store_is_a_dictionary(tmp_path_factory: pytest.TempPathFactory, steps) -> None:
    folder = tmp_path_factory.mktemp("store")
    store, expected = EmbeddingStore(folder, ENCODER), set()
    for texts, reopened in steps:
        store = EmbeddingStore(folder, ENCODER) if reopened else store
        store.add(keys_of(texts), vectors_of(texts))
        expected |= set(texts)
        asked = [*sorted(expected), "what is not there"]
        assert store.known(keys_of(asked)).tolist() == [one in expected for one in asked]
        assert len(store) == len(expected)
        some = asked[:-1][::-1] * 2
        assert store.take(keys_of(some)).tolist() == vectors_of(some).tolist() or not some


def test_an_encoder_sees_its_own_vectors_alone(tmp_path: Path) -> None:
    store = filled(tmp_path, ["tea"])
    assert EmbeddingStore(tmp_path, dict(reversed(ENCODER.items()))).known(keys_of(["tea"])).all()
    assert not EmbeddingStore(tmp_path, {**ENCODER, "dim": 64}).known(keys_of(["tea"])).any()
    assert '"fingerprint": "abc"' in (store.folder / "encoder.json").read_text()


def test_an_empty_store_knows_nothing(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path / "deep" / "store", ENCODER)
    assert len(store) == 0 and not store.known(keys_of(["tea"])).any()
    assert store.known(keys_of([])).tolist() == []
    assert store.take(keys_of([])).shape == (0, 0)
    store.add(keys_of([]), np.empty((0, 3), np.float32))
    assert files(store) == []
    with pytest.raises(KeyError, match="1 of 1 texts have no vector"):
        store.take(keys_of(["tea"]))


def test_keys_with_zeros_are_kept_apart(tmp_path: Path) -> None:
    codes = [
        b"\x00" * 15 + b"\x01",
        b"\x00" * 14 + b"\x02\x01",
        b"a\x00" * 7 + b"\x00\x01",
        b"a" + b"\x00" * 14 + b"\x01",
    ]
    keys = np.array(codes, "S16")
    store = EmbeddingStore(tmp_path, ENCODER)
    store.add(keys, np.arange(8, dtype=np.float32).reshape(4, 2))
    again = EmbeddingStore(tmp_path, ENCODER)
    assert again.take(keys[::-1]).tolist() == [[6, 7], [4, 5], [2, 3], [0, 1]]
    assert len(again) == 4
    many = keys_of([str(n) for n in range(20_000)])
    assert len(set(many.tolist())) == 20_000
    assert {len(one) for one in many.tolist()} == {16}  # numpy has dropped no zeros


def test_what_is_asked_twice_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, ["tea", "ink"], ["jam"])
    opened: list[str] = []
    from features import embedding_store

    def counted(path: Path, real=embedding_store.open_vectors):
        opened.append(path.name)
        return real(path)

    monkeypatch.setattr(embedding_store, "open_vectors", counted)
    store = EmbeddingStore(tmp_path, ENCODER)
    assert not opened
    for _ in range(3):
        assert store.known(keys_of(["tea", "ink", "jam"])).all()
        store.refresh()
    assert len(opened) == 2
    store.add(keys_of(["pen"]), vectors_of(["pen"]))
    assert store.known(keys_of(["pen"])).all() and len(opened) == 3


@pytest.mark.parametrize(
    ("vectors", "error", "message"),
    [
        (np.zeros((1, 4), np.float32), ValueError, "vectors of 4 numbers, and those of the store have 3"),
        (np.zeros((2, 3), np.float32), ValueError, "1 texts, and vectors of the shape"),
        (np.zeros(3, np.float32), ValueError, "1 texts, and vectors of the shape"),
        (
            np.array([[1, np.nan, 2]], np.float32),
            InputError,
            "numbers that are not finite; text.encoder.precision=fp32",
        ),
    ],
)
def test_wrong_vectors_are_refused_before_anything_is_written(tmp_path: Path, vectors, error, message: str) -> None:
    filled(tmp_path, ["tea"])
    store = EmbeddingStore(tmp_path, ENCODER)
    before = files(store)
    with pytest.raises(error, match=message):
        store.add(keys_of(["ink"]), vectors)
    assert files(store) == before
    assert store.take(keys_of(["tea"])).tolist() == vectors_of(["tea"]).tolist()


@pytest.mark.parametrize("length", [0, 5, 30, -9, -1])
def test_a_file_that_was_cut_short_names_itself(tmp_path: Path, length: int) -> None:
    filled(tmp_path, ["tea", "ink"])
    store = filled(tmp_path, ["jam"])
    path = store.folder / files(store)[0]
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=rf"{path.name} is damaged \(.*\); delete it") as caught:
        store.refresh()
        EmbeddingStore(tmp_path, ENCODER).known(keys_of(["tea"]))
    assert "\n" not in str(caught.value)
    path.unlink()
    left = EmbeddingStore(tmp_path, ENCODER).known(keys_of(["tea", "ink", "jam"])).tolist()
    assert left in ([True, True, False], [False, False, True])


CODES, NUMBERS = np.zeros((2, 16), np.uint8), np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    "content",
    [
        {"vectors": NUMBERS},
        {"keys": CODES},
        {"keys": CODES, "vectors": NUMBERS[:1]},
        {"keys": CODES[:, :8], "vectors": NUMBERS},
        {"keys": CODES[:, :0], "vectors": NUMBERS},
        {"keys": CODES, "vectors": NUMBERS[:, :2]},
        {"keys": CODES, "vectors": NUMBERS.astype(np.float16)},
        {"keys": CODES.astype(np.int32), "vectors": NUMBERS},
        {"keys": CODES, "vectors": NUMBERS.ravel()},
    ],
)
def test_a_file_of_something_else_names_itself(tmp_path: Path, content: dict[str, np.ndarray]) -> None:
    store = filled(tmp_path, ["tea"])
    save_file(content, store.folder / "zzz.safetensors")
    with pytest.raises(InputError, match=r"zzz\.safetensors .*; delete it, and what it held is made again") as caught:
        EmbeddingStore(tmp_path, ENCODER).known(keys_of(["tea"]))
    assert "\n" not in str(caught.value)


def test_a_store_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"the store .* cannot be written: Not a directory"):
        EmbeddingStore(tmp_path / "file" / "store", ENCODER)
    store = EmbeddingStore(tmp_path, ENCODER)
    for path in store.folder.iterdir():
        path.unlink()
    store.folder.rmdir()
    with pytest.raises(InputError, match="cannot be written: No such file"):
        store.add(keys_of(["tea"]), vectors_of(["tea"]))
    with pytest.raises(InputError, match="cannot be written: No such file"), store.alone():
        pass


def test_small_files_are_put_together_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.embedding_store._FILES", 4)
    monkeypatch.setattr("features.embedding_store._LARGE", 4 * 3 * 10)  # ten vectors
    texts = [f"text {n}" for n in range(44)]
    chunks = [texts[:12], *(texts[start : start + 4] for start in range(12, 44, 4)), ["text 0", "text 13"]]
    store, reader = filled(tmp_path, *chunks), EmbeddingStore(tmp_path, ENCODER)
    assert len(reader) == 44
    store.compact()
    assert len(files(store)) == 1 + 4  # the large one, and 32 vectors in tens
    assert reader.take(keys_of(texts)).tolist() == vectors_of(texts).tolist()  # of files that are gone
    for one in (store, reader, EmbeddingStore(tmp_path, ENCODER)):
        one.refresh()
        assert len(one) == 44
        assert one.take(keys_of(texts)).tolist() == vectors_of(texts).tolist()
    before = files(store)
    store.compact()
    assert files(store) == before


def test_files_that_are_put_together_while_they_are_opened_are_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"text {n}" for n in range(8)]
    store, reader = filled(tmp_path, *([one] for one in texts)), EmbeddingStore(tmp_path, ENCODER)
    from features import embedding_store

    real = embedding_store.open_vectors

    def others_work(path: Path):
        monkeypatch.setattr(embedding_store, "open_vectors", real)
        monkeypatch.setattr(embedding_store, "_FILES", 4)
        store.compact()
        return real(path)

    store.refresh()
    monkeypatch.setattr(embedding_store, "open_vectors", others_work)
    assert reader.take(keys_of(texts)).tolist() == vectors_of(texts).tolist()
    assert len(files(reader)) == 1


def test_a_kill_at_any_time_leaves_the_store_whole(tmp_path: Path) -> None:
    code = """
for chunk in range(100_000):
    keys = keys_of([f"{chunk} {n}" for n in range(500)])
    print(chunk, flush=True)
    store.add(keys, np.full((500, 256), chunk, np.float32))
"""
    with child(code, tmp_path) as process:
        while (begun := int(process.stdout.readline())) < 12:
            pass
        time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        begun = max([begun, *map(int, process.stdout.read().split())])
    store = EmbeddingStore(tmp_path, ENCODER)
    found = [store.known(keys_of([f"{chunk} {n}" for n in range(500)])) for chunk in range(begun + 1)]
    assert all(one.all() for one in found[:-1])  # one chunk is lost at the most
    assert found[-1].all() or not found[-1].any()
    assert (store.take(keys_of([f"{begun - 1} {n}" for n in range(500)])) == begun - 1).all()


@pytest.mark.parametrize("place", ["os.fsync", "pathlib.Path.replace"])
def test_a_kill_in_the_middle_of_a_file_loses_that_file_alone(tmp_path: Path, place: str) -> None:
    code = f"""
import os, pathlib, signal
store.add(keys_of(["tea", "ink"]), np.ones((2, 3), np.float32))
{place} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
store.add(keys_of(["jam", "pen"]), np.ones((2, 3), np.float32))
"""
    with child(code, tmp_path) as process:
        assert process.wait(60) == -signal.SIGKILL
    store = EmbeddingStore(tmp_path, ENCODER)
    assert store.known(keys_of(["tea", "ink", "jam", "pen"])).tolist() == [True, True, False, False]
    assert len(list(store.folder.glob(".*.part"))) == 1
    store.add(keys_of(["jam"]), vectors_of(["jam"]))
    assert len(store) == 3


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path, ["tea"])
    before = sorted(path.name for path in store.folder.iterdir())

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        store.add(keys_of(["ink"]), vectors_of(["ink"]))
    assert sorted(path.name for path in store.folder.iterdir()) == before
    assert store.known(keys_of(["tea", "ink"])).tolist() == [True, False]


def test_what_a_kill_has_left_is_swept_away_when_it_is_old(tmp_path: Path) -> None:
    store = filled(tmp_path, ["tea"])
    young, old = (store.folder / f".{name}.safetensors.0.part" for name in ("young", "old"))
    for part in (young, old):
        part.write_bytes(b"half a file")
    os.utime(old, (0, 0))
    with store.alone():
        assert young.exists() and not old.exists()
    assert len(store) == 1


def test_two_processes_add_at_once(tmp_path: Path) -> None:
    code = """
first = int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for start in range(first, first + 300, 10):
    numbers = range(start, start + 10)
    store.add(keys_of([str(n) for n in numbers]), np.array([[n, -n] for n in numbers], np.float32))
"""
    processes = [child(code, tmp_path, first) for first in (0, 150)]  # some of the texts are encoded by both
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0]
    store = EmbeddingStore(tmp_path, ENCODER)
    assert len(store) == 450
    assert store.take(keys_of([str(n) for n in range(450)])).tolist() == [[n, -n] for n in range(450)]


def test_one_encodes_at_a_time_until_it_ends_or_is_killed(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, ENCODER)
    assert not store.known(keys_of(["tea"])).any()
    code = """
with store.alone():
    store.add(keys_of(["tea"]), np.ones((1, 3), np.float32))
    print("added", flush=True)
    sys.stdin.readline()
"""
    with child(code, tmp_path) as process:
        assert process.stdout.readline() == "added\n"
        with (store.folder / "lock").open("w") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.kill(process.pid, signal.SIGKILL)
    with store.alone():
        assert store.known(keys_of(["tea"])).all()  # what the other has added is seen
