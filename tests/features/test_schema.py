"""Declarations as plain dictionaries."""

from features.schema import FeatureSchema, Id, Sequence


def test_a_setting_that_is_not_used_is_not_told() -> None:
    plain, timed = (FeatureSchema((Sequence("history", timed=one),), (Id("item_id"),)) for one in (False, True))
    told = {"kind": "sequence", "name": "history", "column": "history", "max_length": 0}
    assert plain.to_json()["user"] == [told]
    assert timed.to_json()["user"] == [{**told, "timed": True}]
    assert [FeatureSchema.from_json(one.to_json()) for one in (plain, timed)] == [plain, timed]
