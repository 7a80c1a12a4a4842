"""Declarations as plain dictionaries, and those that contradict themselves."""

import pytest

from features.errors import InputError
from features.schema import FeatureSchema, Id, Sequence, Text, Vector


def test_a_setting_that_is_not_used_is_not_told() -> None:
    plain, timed = (FeatureSchema((Sequence("history", timed=one),), (Id("item_id"),)) for one in (False, True))
    told = {"kind": "sequence", "name": "history", "column": "history", "max_length": 0}
    assert plain.to_json()["user"] == [told]
    assert timed.to_json()["user"] == [{**told, "timed": True}]
    assert [FeatureSchema.from_json(one.to_json()) for one in (plain, timed)] == [plain, timed]


def test_items_may_have_a_vector() -> None:
    schema = FeatureSchema(item=(Id("item_id"), Vector("meaning", "text_vector", size=384)))
    told = {"kind": "vector", "name": "meaning", "column": "text_vector", "size": 384}
    assert schema.to_json()["item"][1] == told
    assert FeatureSchema.from_json(schema.to_json()) == schema
    assert schema.vector == Vector("meaning", "text_vector", 384)
    assert not schema.vector.embedded  # nothing is looked up
    assert FeatureSchema(item=(Id("item_id"), Text("title"))).vector is None
    assert FeatureSchema.from_json({"item": [{"kind": "vector", "name": "v"}]}).vector == Vector("v", "v", 0)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (
            {"item": [{"kind": "vector", "name": "v", "size": -1}]},
            "the vector 'v' is a whole number, 0 or more; got -1",
        ),
        ({"item": [{"kind": "vector", "name": "v", "size": "384"}]}, "is a whole number, 0 or more; got '384'"),
        ({"item": [{"kind": "vector", "name": "v", "width": 3}]}, "the item feature 'v' has no setting 'width'"),
        ({"item": [{"kind": "vector", "name": one} for one in "vw"]}, "more than one feature of kind 'vector'"),
        ({"user": [{"kind": "vector", "name": "v"}]}, "a feature of kind 'vector' belongs to the item side"),
        ({"item": [{"kind": "sequence", "name": "h"}]}, "a feature of kind 'sequence' belongs to the user side"),
        ({"item": [{"kind": "picture", "name": "v"}]}, "of kind 'picture'; the kinds are .*vector"),
    ],
)
def test_what_cannot_be_declared(declared, message: str) -> None:
    with pytest.raises(InputError, match=message):
        FeatureSchema.from_json(declared)
