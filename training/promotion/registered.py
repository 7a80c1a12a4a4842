"""Registered versions that are to be promoted: where they are, and whether they can be loaded at all."""

from __future__ import annotations

from features.errors import InputError
from serving.bundles.manifest import MATCHER
from serving.bundles.sealed import read_manifest
from serving.candidates import CandidateGenerator
from serving.resolve import Resolved, resolve


def recommender(name: str, version: str, uri: str | None = None) -> Resolved:
    """Where a registered version is.

    Raises:
        InputError: It is no recommender, so that no window measures it.
    """
    found, is_matcher = _found(name, version, uri)
    if is_matcher:
        raise InputError(
            f"version {version} of {name!r} is a matcher of records, which no window of interactions measures; "
            "--no-gates --why TEXT promotes it"
        )
    return found


def loaded(name: str, version: str, uri: str | None = None) -> CandidateGenerator:
    """A registered version, ready to answer.

    Raises:
        InputError: It is no recommender, or cannot be used.
    """
    return CandidateGenerator.of(recommender(name, version, uri))


def check_whole(name: str, version: str, uri: str | None = None) -> None:
    """Checks the sizes and hashes of a version's files, and loads it.

    Args:
        name: A registered model: a recommender, or a matcher of records.
        version: Its version.
        uri: The tracking store.

    Raises:
        InputError: There is no such version, or it cannot be used: it names the version, and what is wrong.
    """
    found, is_matcher = _found(name, version, uri)
    if is_matcher:
        from serving.matching.matcher import Matcher

        Matcher.of(found)
    else:
        CandidateGenerator.of(found)


def _found(name: str, version: str, uri: str | None) -> tuple[Resolved, bool]:
    """A version, and whether it is a matcher."""
    found = resolve(f"models:/{name}/{version}", uri)
    with found.blamed():
        return found, read_manifest(found.folder).get("kind") == MATCHER
