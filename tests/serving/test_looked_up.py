"""What a service begins with is looked up once, and who serves no alias is told what that means."""

from __future__ import annotations

import pytest

from features.errors import InputError
from serving.looked_up import look_up


def test_the_newest_version_comes_with_a_warning_and_nothing_else_does(plain_registry, string_folder):
    for _ in range(2):
        plain_registry.register(string_folder)
    plain_registry.crown(1)
    warned = {}
    for source in ("models:/shop", "models:/shop@champion", "models:/shop/2", str(string_folder), None):
        found = look_up(source, None, plain_registry.uri)()
        warned[source] = found.notice(source)
    told = warned.pop("models:/shop")
    assert told.startswith("models:/shop is its newest version, 2, whether it was promoted or not")
    assert "models:/shop@champion follows promotions, and models:/shop/2 is" in told and "\n" not in told
    assert set(warned.values()) == {None}


def test_the_shadow_is_looked_up_with_it(plain_registry, string_folder):
    for _ in range(2):
        plain_registry.register(string_folder)
    found = look_up("models:/shop/1", "models:/shop/2", plain_registry.uri)()
    assert (found.model.version, found.shadow.version) == ("1", "2")
    with pytest.raises(InputError, match="there is no bundle at nowhere"):
        look_up("models:/shop/1", "nowhere", plain_registry.uri)
    assert look_up(None, None, plain_registry.uri)() == (None, None)
