"""Errors of a bundle say which version it is of, and where it lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.errors import InputError
from serving.bundles.sealed import BundleError
from serving.candidates import CandidateGenerator
from serving.golden import replay
from serving.naming import Resolved
from serving.resolve import resolve


@pytest.mark.parametrize(
    ("version", "said", "expected"),
    [
        ("3", "a.json has 2 bytes", "version 3 of the model 'shop' at /at: a.json has 2 bytes"),
        ("3", "/at is no bundle", "version 3 of the model 'shop': /at is no bundle"),
        (None, "a.json has 2 bytes", "the bundle at /at: a.json has 2 bytes"),
        (None, "/at is no bundle", "/at is no bundle"),
    ],
)
def test_a_sentence_names_version_and_folder_once(version, said, expected):
    with pytest.raises(BundleError) as told, Resolved(Path("/at"), "shop", version).blamed():
        raise BundleError(said)
    assert str(told.value) == expected and str(told.value.__cause__) == said


def test_what_is_not_the_bundle_s_fault_is_told_as_it_is():
    with pytest.raises(InputError, match=r"^new items$") as told, Resolved(Path("/at"), "shop", "3").blamed():
        raise InputError("new items")
    assert not isinstance(told.value, BundleError)


def test_damage_of_a_registered_version_is_told_with_its_number(plain_registry, string_folder):
    folder = plain_registry.register(string_folder)
    found = resolve("models:/shop/1", plain_registry.uri)
    generator = CandidateGenerator.of(found)
    (folder / "golden.json").write_text("[]")
    start = rf"^version 1 of the model 'shop' at {folder}: golden\.json "
    with pytest.raises(BundleError, match=start + "cannot be read"):
        replay(generator)
    with pytest.raises(BundleError, match=start + "has 2 bytes"):
        CandidateGenerator.of(found)
    (folder / "manifest.json").unlink()
    with pytest.raises(InputError, match=rf"^version 1 of the model 'shop' at {folder.parents[1]} holds 0 bundles"):
        resolve("models:/shop/1", plain_registry.uri)
