"""The versions of a model in MLflow's registry."""

from __future__ import annotations

from typing import Any

from features.errors import InputError


def newest_first(client: Any, name: str) -> list[Any]:
    """The versions of a registered model, the newest first."""
    quoted = f"'{name}'" if "'" not in name else f'"{name}"'
    return sorted(client.search_model_versions(f"name={quoted}"), key=lambda one: -int(one.version))


def newest_of(client: Any, name: str) -> Any:
    """The newest version of a registered model.

    Raises:
        InputError: It has none.
    """
    if not (versions := newest_first(client, name)):
        raise InputError(f"the model {name!r} has no version")
    return versions[0]
