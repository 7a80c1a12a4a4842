"""All versions of registered models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from serving.registered_versions import newest_first
from training.promotion.aliases import aliases_of, check_name
from training.tracking import connect


def versions(names: Sequence[str] = (), uri: str | None = None) -> list[tuple[str, str]]:
    """All versions of some registered models, of all of them where none is named: names and versions.

    Raises:
        InputError: No such model.
    """
    client = connect(uri, create=False).MlflowClient()
    if not names:
        models: list[Any] = []
        token = None
        while token != "":
            page = client.search_registered_models(page_token=token)
            models, token = [*models, *page], page.token or ""
        names = [one.name for one in models]
    found = []
    for name in names:
        check_name(name)
        aliases_of(client, name)  # refuses unknown names
        found += [(name, str(one.version)) for one in reversed(newest_first(client, name))]
    return found
