"""Stable 64-bit hashing: the same bits on every machine, in every process and with every version.

Two steps. A raw id becomes a 64-bit *key* (an integer is its own key, a string's key is the XXH3 of its UTF-8 bytes).
A key is then mixed with a *salt* per (feature, look-up), so that one row space can serve many features and many
look-ups, each pair colliding with different partners: the independent hashes of Unified Embedding (Coleman et al.,
"Unified Embedding: Battle-Tested Feature Representations for Web-Scale ML Systems", 2023, section 4).

Python's `hash` differs between processes and polars' `hash` between versions: neither may decide where a weight lives.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import xxhash

from features.errors import InputError

if TYPE_CHECKING:  # tables can be read without torch, which takes seconds to load
    import torch
    from torch import Tensor

#: Part of every stored model: another seed is another hash function, and all weights would be looked up elsewhere.
STRING_SEED = 0x5EED0F1D5
_SALT_SEED = 0x5A17
_CHUNK = 1 << 17
_LOW_32, _ALL = (1 << 32) - 1, (1 << 64) - 1
#: of 64-bit numbers: this many, twice, stay in a core's second cache, and an operation on them is more than its call
_PIECE = 1 << 15
_WORTH_A_THREAD = 1 << 18


def string_keys(strings: pl.Series) -> np.ndarray:
    """64 bits of each string: XXH3 of its UTF-8 bytes, seeded, as a signed integer.

    Args:
        strings: Without nulls. (n,)

    Returns:
        (n,) int64

    Example:
        >>> string_keys(pl.Series(["ant", "bee", "ant"])).tolist()
        [3014775322418284905, -1513016218657909219, 3014775322418284905]
    """
    keys = np.empty(len(strings), dtype=np.uint64)
    digest = xxhash.xxh3_64_intdigest
    for start in range(0, len(strings), _CHUNK):  # chunks, so that few Python strings exist at a time
        chunk = strings.slice(start, _CHUNK).to_list()
        keys[start : start + len(chunk)] = [digest(string.encode(), STRING_SEED) for string in chunk]
    return keys.view(np.int64)


def id_keys(ids: pl.Series) -> np.ndarray:
    """The 64-bit key of each raw id: an integer itself, or the hash of a string.

    Args:
        ids: Int64 or String, without nulls. (n,)

    Returns:
        (n,) int64
    """
    if ids.null_count():
        raise InputError(f"the ids {ids.name!r} have {ids.null_count()} nulls, which have no hash")
    if ids.dtype == pl.Int64:
        return ids.to_numpy()
    if ids.dtype == pl.String:
        return string_keys(ids)
    raise InputError(f"the ids {ids.name!r} are {ids.dtype}; ids are Int64 or String")


def salt_of(feature: str, lookup: int) -> int:
    """The 64-bit salt of one look-up of one feature, as a signed integer.

    Example:
        >>> salt_of("item_id", 0) != salt_of("item_id", 1) != salt_of("user_id", 1)
        True
    """
    return _signed(xxhash.xxh3_64_intdigest(f"{feature}\x00{lookup}".encode(), _SALT_SEED))


def mix64(keys: Tensor, salt: int) -> Tensor:
    """Scrambles 64-bit keys: a bijection for each salt, unrelated between salts.

    Two rounds of the finaliser of SplitMix64 (Steele, Lea & Flood 2014, Stafford's variant 13), the salt put in before
    each. One round would leave (key + salt) structure visible: two salts that differ by d would map key and key - d
    alike, so consecutive integer ids would collide with the same partners under neighbouring salts.

    Args:
        keys: Any shape, int64; on CPU or GPU, the bits are the same.
        salt: 64 bits, see `salt_of`.

    Returns:
        As `keys`, int64.
    """
    if keys.device.type == "cpu":
        return _streamed(keys, lambda x, spare: _mix(x, spare, salt & _ALL))
    return _mixed_on_device(keys, salt)


def bucket(hashes: Tensor, n: int) -> Tensor:
    """Maps 64-bit hashes evenly onto [0, n): floor(hash x n / 2^64) with the hash read as unsigned.

    The multiply-shift (Lemire 2019) uses the high bits that a mixer mixes best, needs no division, and is exact here in
    two 32-bit halves, because int64 has no 128-bit product.

    Args:
        hashes: Any shape, int64.
        n: How many buckets, 1 to 2^31 - 1.

    Returns:
        As `hashes`, int64 in [0, n).
    """
    _check_buckets(n)
    if hashes.device.type == "cpu":
        return _streamed(hashes, lambda x, spare: _spread(x, spare, n))
    return _spread_on_device(hashes, n)


def hashed_rows(keys: Tensor, salt: int, n: int) -> Tensor:
    """`bucket(mix64(keys, salt), n)` in one pass, and in half the memory.

    Args:
        keys: Any shape, int64.
        salt: 64 bits, see `salt_of`.
        n: How many rows, 1 to 2^31 - 1.

    Returns:
        As `keys`, int32 in [0, n).

    Example:
        >>> import torch
        >>> hashed_rows(torch.tensor([5, -7, 2**60]), salt_of("item_id", 0), 1000).tolist()
        [588, 731, 629]
    """
    import torch

    _check_buckets(n)
    if keys.device.type != "cpu":
        return bucket(mix64(keys, salt), n).to(torch.int32)

    def apply(x: np.ndarray, spare: np.ndarray) -> None:
        _mix(x, spare, salt & _ALL)
        _spread(x, spare, n)

    return _streamed(keys, apply, torch.int32)


def _streamed(
    values: Tensor, apply: Callable[[np.ndarray, np.ndarray], None], dtype: torch.dtype | None = None
) -> Tensor:
    """Applies arithmetic in place to one cache-sized piece after the other, and the pieces to torch's threads.

    Some twenty operations in a row cost what memory costs, each of them, unless the numbers stay in the cache between
    them. NumPy's, because it has unsigned integers, whose shifts need no masking, and lets go of the interpreter's
    lock while it computes.

    Args:
        values: Any shape, int64.
        apply: Changes its first argument in place; the second is spare memory. (n,) uint64 both
        dtype: Of the result; int64 where not given.
    """
    import torch

    # on the CPU also where a model is made without memory, under torch.device("meta")
    out = torch.empty(values.shape, dtype=dtype or values.dtype, device=values.device)
    source, target = values.contiguous().view(-1).numpy().view(np.uint64), out.view(-1).numpy()

    def part(start: int, end: int) -> None:
        work, spare = np.empty((2, min(_PIECE, end - start)), dtype=np.uint64)
        for at in range(start, end, _PIECE):
            size = min(_PIECE, end - at)
            work[:size] = source[at : at + size]
            apply(work[:size], spare[:size])
            target[at : at + size] = work[:size].view(np.int64)

    threads = min(torch.get_num_threads(), len(source) // _WORTH_A_THREAD)
    if threads < 2:
        part(0, len(source))
        return out
    ends = [len(source) * n // threads for n in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, ends, ends[1:]))
    return out


def _mix(x: np.ndarray, spare: np.ndarray, salt: int) -> None:
    """`mix64` in place. (n,) uint64"""
    x += salt
    _finalise_in_place(x, spare)
    x ^= salt
    _finalise_in_place(x, spare)


def _finalise_in_place(x: np.ndarray, spare: np.ndarray) -> None:
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x ^= np.right_shift(x, shift, out=spare)
        x *= factor
    x ^= np.right_shift(x, 31, out=spare)


def _spread(x: np.ndarray, spare: np.ndarray, n: int) -> None:
    """`bucket` in place. (n,) uint64"""
    np.bitwise_and(x, _LOW_32, out=spare)
    spare *= n
    spare >>= 32
    x >>= 32
    x *= n
    x += spare
    x >>= 32


def _check_buckets(n: int) -> None:
    if not 0 < n < 1 << 31:
        raise InputError(f"hashes are spread over 1 to 2147483647 rows, not over {n}")


def _mixed_on_device(keys: Tensor, salt: int) -> Tensor:
    """`mix64` by torch."""
    salt = _signed(salt)
    return _finalise(_finalise(keys + salt) ^ salt)


def _spread_on_device(hashes: Tensor, n: int) -> Tensor:
    """`bucket` by torch."""
    high = (hashes >> 32) & _LOW_32
    low = hashes & _LOW_32
    return (high * n + ((low * n) >> 32)) >> 32


def _finalise(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * -0x40A7_B892_E31B_1A47  # 0xBF58476D1CE4E5B9 as a signed integer
    x = (x ^ _shift(x, 27)) * -0x6B2F_B644_ECCE_EE15  # 0x94D049BB133111EB
    return x ^ _shift(x, 31)


def _shift(x: Tensor, by: int) -> Tensor:
    """A logical shift to the right: int64 shifts arithmetically, so the copies of the sign bit are masked away."""
    return (x >> by) & ((1 << (64 - by)) - 1)


def _signed(bits: int) -> int:
    bits &= _ALL
    return bits - (1 << 64) if bits >> 63 else bits
