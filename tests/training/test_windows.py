"""Windows: what an epoch holds, that places and their next items belong together, and who has which part."""

import dataclasses

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from features.dataset import Dataset
from features.errors import InputError
from features.parts import TRAIN, Split
from features.prepared import Prepared
from features.schema import FeatureSchema, Id, Sequence
from features.splits import make_split
from training import processes
from training.config import load_config
from training.sequential_config import SequentialTrainConfig, WindowsConfig
from training.windows import NextItemData, Windows


def _prepared(lengths: list[int], schema: FeatureSchema | None = None) -> Prepared:
    """Users with so many items each, every interaction an item of its own: item rows tell where a window stands."""
    users = np.repeat(np.arange(len(lengths)), lengths)
    log = pl.DataFrame({"user_id": users, "item_id": np.arange(len(users)), "timestamp": np.arange(len(users))})
    people = pl.DataFrame({"user_id": np.arange(len(lengths))})
    dataset = Dataset.construct("toy", log, users=people, schema=schema)
    return Prepared.of(dataset, Split("all", {}, np.full(len(users), TRAIN, np.uint8), log))


def _epoch(prepared: Prepared, epoch: int = 0, seed: int = 0, **settings) -> list:
    return list(Windows(prepared, WindowsConfig(**settings), seed, lambda: epoch))


def _windows(batches: list) -> list[tuple[list[int], list[int]]]:
    out = []
    for batch in batches:
        history = batch.users.sparse["history"]
        assert batch.users.size == len(history) and len(batch.targets) == len(history.values)
        assert batch.users.sparse.keys() == {"history"} and not batch.users.dense  # all that such a model reads
        sizes = history.lengths.tolist()
        pairs = zip(history.values.split(sizes), batch.targets.split(sizes), strict=True)
        out += [(inputs.tolist(), targets.tolist()) for inputs, targets in pairs]
    return out


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=12).filter(lambda lengths: max(lengths) >= 2),
    st.integers(1, 12),
    st.integers(1, 9),
    st.integers(0, 3),
    st.booleans(),
)
def test_all_windows_hold_each_item_but_the_first_once_as_a_target(lengths, most, batch_size, epoch, grouped) -> None:
    prepared = _prepared(lengths)
    given_settings = {"max_length": most, "batch_size": batch_size, "group_by_length": grouped}
    batches = _epoch(prepared, epoch, windows="all", **given_settings)
    windows = _windows(batches)
    starts = np.cumsum([0, *lengths[:-1]])
    expected = [row for start, n in zip(starts, lengths, strict=True) for row in range(start + 1, start + n)]
    assert sorted(row for _, targets in windows for row in targets) == expected
    for inputs, targets in windows:
        assert inputs == list(range(inputs[0], inputs[0] + len(inputs))) and 1 <= len(inputs) <= most
        assert targets == [row + 1 for row in inputs]
    made = Windows(prepared, WindowsConfig(windows="all", **given_settings), 0, lambda: epoch)
    sizes = [len(batch.users.sparse["history"]) for batch in batches]
    assert len(batches) == len(made) and max(sizes) - min(sizes) <= 1 and min(sizes) > 0
    assert max(sizes) <= max(2, made.batch_size)  # of one window each, some batches have two, so that none is empty
    last = sorted(_windows(_epoch(prepared, epoch, windows="last", **given_settings)))
    ends = [(start + n, min(n - 1, most)) for start, n in zip(starts, lengths, strict=True) if n >= 2]
    assert last == [(list(range(end - 1 - n, end - 1)), list(range(end - n, end))) for end, n in ends]


def test_cuts_change_with_the_epoch_and_stand_anywhere() -> None:
    prepared = _prepared([30])
    seen = set()
    for epoch in range(60):
        windows = _windows(_epoch(prepared, epoch, windows="all", max_length=7, batch_size=8))
        assert windows == _windows(_epoch(prepared, epoch, windows="all", max_length=7, batch_size=8))
        seen |= {inputs[0] for inputs, _ in windows}
    assert seen == set(range(29))
    assert len({len(one) for one in (_epoch(prepared, epoch, windows="all", max_length=7) for epoch in range(9))}) == 1


def test_an_epoch_is_told_by_its_seed_and_number() -> None:
    prepared = _prepared([5] * 40)

    def firsts(epoch: int = 0, seed: int = 0) -> list[int]:
        return [inputs[0] for inputs, _ in _windows(_epoch(prepared, epoch, seed, batch_size=8))]

    assert firsts(3) == firsts(3)
    assert firsts(3) != firsts(4) and firsts(seed=1) != firsts(seed=2)
    assert sorted(firsts(3)) == sorted(firsts(4))


def test_grouped_batches_hold_windows_of_similar_length() -> None:
    lengths = np.random.default_rng(0).integers(2, 100, 600).tolist()

    def spread(grouped: bool) -> float:
        batches = _epoch(_prepared(lengths), batch_size=16, group_by_length=grouped)
        return float(np.mean([batch.users.sparse["history"].lengths.float().std() for batch in batches]))

    assert spread(True) < 0.2 * spread(False)
    grouped = [
        batch.users.sparse["history"].lengths.max().item()
        for batch in _epoch(_prepared(lengths), batch_size=16, group_by_length=True)
    ]
    assert grouped != sorted(grouped)


def test_a_declared_length_shortens_windows() -> None:
    schema = FeatureSchema(user=(Sequence("history", max_length=3),), item=(Id("item_id"),))
    windows = _windows(_epoch(_prepared([9], schema), windows="last", max_length=8))
    assert windows == [([5, 6, 7], [6, 7, 8])]
    with pytest.raises(InputError, match="needs a user feature of kind 'sequence'"):
        Windows(_prepared([9], FeatureSchema(user=(Id("user_id"),))), WindowsConfig(), 0, lambda: 0)


def test_declared_times_come_with_the_items() -> None:
    schema = FeatureSchema(user=(Sequence("history", timed=True),), item=(Id("item_id"),))
    for batch in _epoch(_prepared([9, 1, 12, 2], schema), windows="all", max_length=5, batch_size=3):
        history = batch.users.sparse["history"]
        assert torch.equal(history.times, history.values)  # an item's row is its time here
        assert torch.equal(batch.users.asked_at, batch.targets[history.lengths.cumsum(0) - 1])
    (batch,) = _epoch(_prepared([9]))
    assert batch.users.sparse["history"].times is None and batch.users.asked_at is None


def test_processes_have_parts_of_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = _prepared([6] * 41)
    whole = _epoch(prepared, windows="all", max_length=4, batch_size=8)
    parts = []
    for rank in range(2):
        monkeypatch.setattr(processes, "my_part", lambda n, rank=rank: slice(rank * n // 2, (rank + 1) * n // 2))
        parts.append(_epoch(prepared, windows="all", max_length=4, batch_size=8))
    for batch, *halves in zip(whole, *parts, strict=True):
        assert torch.equal(batch.targets, torch.cat([half.targets for half in halves]))


def test_what_a_split_withholds_is_in_no_window() -> None:
    random = np.random.default_rng(0)
    log = pl.DataFrame({"user_id": random.integers(0, 30, 600), "item_id": random.integers(0, 50, 600)})
    dataset = Dataset.construct("toy", log.with_columns(timestamp=pl.int_range(pl.len())))
    for name in ("leave-one-out", "cold-items", "sessions", "time"):
        prepared = Prepared.of(dataset, make_split(name, dataset))
        windows = _windows(_epoch(prepared, windows="all"))
        trained = [prepared.train.row(user).tolist() for user in range(30)]
        held = sorted([*inputs, targets[-1]] for inputs, targets in windows)
        assert held == sorted(row for row in trained if len(row) >= 2)


def test_a_batch_is_a_two_hundredth_within_bounds() -> None:
    assert [len(_epoch(_prepared([3] * 100), windows=one, batch_size=10)) for one in ("last", "all")] == [10, 10]
    sizes = [NextItemData(_prepared([3] * n), WindowsConfig(), 0).batch_size for n in (100, 20_000, 60_000)]
    assert sizes == [16, 100, 256]


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("windows.windows=first", "windows.windows"),
        ("windows.max_length=-1", "windows.max_length"),
        ("windows.max_length=300", "windows.max_length 300 is more than the model reads, model.max_length 200"),
        ("windows.batch_size=-2", "windows.batch_size"),
        ("windows.candidates=all", "windows.candidates"),
        ("seed=-1", "seed"),
    ],
)
def test_wrong_settings_are_named(setting: str, named: str) -> None:
    with pytest.raises(InputError, match=named):
        load_config(settings=[setting], kind=SequentialTrainConfig)


def test_windows_are_as_long_as_the_model_reads() -> None:
    assert load_config(settings=["model.max_length=50"], kind=SequentialTrainConfig).windows.max_length == 50
    config = load_config(settings=["windows.max_length=20"], kind=SequentialTrainConfig)
    assert (config.windows.max_length, config.model.max_length, config.split.name) == (20, 200, "leave-one-out")
    assert dataclasses.replace(config, seed=3).windows == config.windows
