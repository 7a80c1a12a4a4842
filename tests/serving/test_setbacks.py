"""What passes and what lasts of all that can go wrong with a version."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.errors import InputError
from serving.bundles.sealed import BundleError
from serving.naming import Resolved, Unfetched
from serving.setbacks import Setback, lasts

VERSION = Resolved(Path("nowhere"), "shop", "2", "m-2")


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (BundleError("weights.safetensors has another sha256"), True),
        (caused(BundleError("cannot be used"), KeyError("schema")), True),
        (caused(BundleError("version 2: cannot be used"), BundleError("cannot be used")), True),
        (caused(BundleError("cannot be used"), OSError("too many open files")), False),
        (caused(BundleError("version 2"), caused(BundleError("cannot be used"), MemoryError())), False),
        (OSError("no space"), False),
        (MemoryError(), False),
        (InputError("new items cannot be read"), False),
        (RuntimeError("can't allocate memory"), False),
        (Unfetched("the network is away", VERSION, False), False),
        (caused(Unfetched("holds 0 bundles", VERSION, True), OSError("gone")), True),
    ],
)
def test_what_is_wrong_with_the_version_itself_lasts(error, expected):
    assert lasts(error) is expected


def test_tries_in_a_row_are_counted_for_one_version():
    first = Setback.of(VERSION, lasting=False)
    assert (first.tries, first.waits) == (1, True)
    again = Setback.of(VERSION, False, first)
    assert (again.tries, again.seconds) == (2, 2 * first.seconds)
    other = Setback.of(Resolved(Path("nowhere"), "shop", "3", "m-3"), False, again)
    assert (other.tries, other.seconds) == (1, first.seconds)
    many = Setback(VERSION, 100_000, 600.0, 0.0)
    assert not many.waits and Setback.of(VERSION, False, many).seconds == 600
    never = Setback.of(VERSION, True, again)
    assert never.waits and never.seconds is None
