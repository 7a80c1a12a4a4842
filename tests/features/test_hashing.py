"""Hashes that stored weights depend on: fixed values, an independent reference, and statistics."""

import subprocess
import sys

import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from features.errors import InputError
from features.hashing import bucket, id_keys, mix64, salt_of, string_keys

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


@pytest.mark.parametrize("n", [0, -1, 2**31])
def test_buckets_beyond_their_range_are_refused(n: int) -> None:
    with pytest.raises(InputError, match=str(n)):
        bucket(torch.tensor([1]), n)


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
