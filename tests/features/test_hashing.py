"""Hashes that stored weights depend on: fixed values, an independent reference, and statistics."""

import subprocess
import sys

import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from features import hashing
from features.errors import InputError
from features.hashing import bucket, hashed_rows, id_keys, mix64, salt_of, string_keys

INT64 = st.integers(-(2**63), 2**63 - 1)
MASK = 2**64 - 1

GOLDEN_KEYS = [8730175707836743854, -3685495741478693068, -6189371140584091631, 7003229911197287460]
GOLDEN_SALTS = [-4122264554391545413, 3486345242853949222, 7098922983226284620]
GOLDEN_HASHES = [
    -5600325389080115453,
    -7372207014458021061,
    -1488762881528904748,
    -4227536537822271648,
    5572603057315853263,
]
GOLDEN_BUCKETS = [696, 600, 919, 770, 302]


def _mix(key: int, salt: int) -> int:
    """SplitMix64's finaliser in Python's unlimited integers."""

    def finalise(x: int) -> int:
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
        return x ^ (x >> 31)

    return finalise(finalise((key + salt) & MASK) ^ (salt & MASK))


def test_golden_values() -> None:
    """If these change, every model that was ever stored looks its ids up in the wrong rows."""
    assert string_keys(pl.Series(["", "u00017", "été", "\U0001f600" * 40])).tolist() == GOLDEN_KEYS
    assert [salt_of("item_id", 0), salt_of("item_id", 1), salt_of("genres", 0)] == GOLDEN_SALTS
    keys = torch.tensor([0, 1, -1, 2**62, -(2**63)])
    hashes = mix64(keys, salt_of("item_id", 0))
    assert hashes.tolist() == GOLDEN_HASHES
    assert bucket(hashes, 1000).tolist() == GOLDEN_BUCKETS


def test_another_process_hashes_alike() -> None:
    code = "import polars as pl; from features.hashing import string_keys; print(string_keys(pl.Series(['u00017']))[0])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == GOLDEN_KEYS[1]


@given(st.lists(INT64, min_size=1, max_size=20), INT64)
def test_mixing_is_the_reference(keys: list[int], salt: int) -> None:
    assert [one & MASK for one in mix64(torch.tensor(keys), salt).tolist()] == [_mix(key, salt) for key in keys]


@given(st.lists(INT64, min_size=1, max_size=20), st.integers(1, 2**31 - 1))
def test_buckets_use_all_64_bits_exactly(hashes: list[int], n: int) -> None:
    assert bucket(torch.tensor(hashes), n).tolist() == [((one & MASK) * n) >> 64 for one in hashes]


@given(st.lists(INT64, max_size=20), INT64, st.integers(1, 2**31 - 1))
def test_rows_in_one_pass_are_the_buckets_of_the_mixed_keys(keys: list[int], salt: int, n: int) -> None:
    rows = hashed_rows(torch.tensor(keys, dtype=torch.int64), salt, n)
    assert rows.tolist() == [(_mix(key, salt) * n) >> 64 for key in keys]
    assert rows.dtype == torch.int32


@given(st.lists(INT64, min_size=1, max_size=20), INT64, st.integers(1, 2**31 - 1))
def test_other_devices_compute_the_same_bits(keys: list[int], salt: int, n: int) -> None:
    mixed = hashing._mixed_on_device(torch.tensor(keys), salt)
    assert mixed.tolist() == mix64(torch.tensor(keys), salt).tolist()
    assert hashing._spread_on_device(mixed, n).tolist() == bucket(mixed, n).tolist()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_cuda_device_computes_the_same_bits() -> None:
    keys = torch.randint(-(2**63), 2**63 - 1, (10_000,))
    assert torch.equal(hashed_rows(keys.cuda(), salt_of("x", 0), 997).cpu(), hashed_rows(keys, salt_of("x", 0), 997))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_pieces_and_threads_leave_no_seam(threads: int) -> None:
    keys = torch.arange(-500_000, 500_001)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        rows, mixed = hashed_rows(keys, 7, 1_000), mix64(keys, 7)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(mixed, hashing._mixed_on_device(keys, 7))
    assert torch.equal(rows.long(), hashing._spread_on_device(mixed, 1_000))


def test_shapes_and_strides_are_kept_and_inputs_untouched() -> None:
    keys = torch.arange(24).view(4, 6)
    turned = keys.t()
    assert torch.equal(mix64(turned, 3), mix64(keys, 3).t())
    assert mix64(torch.tensor(5), 3).shape == () and hashed_rows(keys[:0], 3, 10).shape == (0, 6)
    assert torch.equal(keys, torch.arange(24).view(4, 6))


@pytest.mark.parametrize("n", [0, -1, 2**31])
def test_buckets_beyond_their_range_are_refused(n: int) -> None:
    for refused in (lambda: bucket(torch.tensor([1]), n), lambda: hashed_rows(torch.tensor([1]), 0, n)):
        with pytest.raises(InputError, match=str(n)):
            refused()


@pytest.mark.parametrize(
    "keys", [torch.arange(200_000), torch.arange(200_000) << 20, torch.arange(200_000) * -(2**44)], ids=str
)
def test_buckets_are_filled_evenly(keys: torch.Tensor) -> None:
    n = 1000
    for feature in ("item_id", "genres"):
        counts = torch.bincount(bucket(mix64(keys, salt_of(feature, 0)), n), minlength=n)
        chi_square = float(((counts - len(keys) / n) ** 2 / (len(keys) / n)).sum())
        assert abs(chi_square - (n - 1)) < 5 * (2 * (n - 1)) ** 0.5  # five standard deviations of chi square


def test_look_ups_collide_with_different_partners() -> None:
    """Of the pairs that share a row in one look-up, one in n shares a row in another, as if by chance."""
    n, keys = 2_000, torch.arange(20_000)
    rows = [bucket(mix64(keys, salt_of("item_id", lookup)), n) for lookup in range(4)]
    for one in range(4):
        for other in range(one):
            together = torch.bincount(rows[one] * n + rows[other], minlength=1)
            pairs = float((together * (together - 1) // 2).sum())
            expected = len(keys) ** 2 / 2 / n**2
            assert pairs < expected + 6 * expected**0.5


def test_neighbouring_salts_do_not_shift_keys() -> None:
    """With one round of mixing, key 5 under salt 10 would be key 4 under salt 11."""
    assert mix64(torch.tensor([5]), 10).item() != mix64(torch.tensor([4]), 11).item()


def test_integers_are_their_own_keys() -> None:
    assert id_keys(pl.Series([-(2**63), 2**53 + 1])).tolist() == [-(2**63), 2**53 + 1]


@pytest.mark.parametrize("bad", [pl.Series("x", [1.5]), pl.Series("x", ["a", None])])
def test_what_has_no_key_is_refused(bad: pl.Series) -> None:
    with pytest.raises(InputError, match="'x'"):
        id_keys(bad)
