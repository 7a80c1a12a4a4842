"""The shapes of bodies: reading one ends at the first wrong value of a list."""

import pytest
from pydantic import ValidationError

from serving.http.fields import MAX_FILTER
from serving.http.requests import (
    CandidateRequest,
    GoneItemsRequest,
    InvocationRequest,
    NewItemsRequest,
    Parameters,
    SimilarRequest,
)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (CandidateRequest, {"histories": [[{}] * 9_000] * 60}),
        (CandidateRequest, {"user_ids": [{}] * 900}),
        (CandidateRequest, {"user_ids": ["u"], "attributes": [{"tags": [{}] * 90_000}]}),
        (InvocationRequest, {"dataframe_records": [{"history": [{}] * 9_000}] * 60}),
        (NewItemsRequest, {"items": [{"item_id": "i", "attributes": {"tags": [{}] * 9_000}}] * 200}),
        (NewItemsRequest, {"items": [{"item_id": {}, "attributes": {}}] * 200}),
        (GoneItemsRequest, {"item_ids": [{}] * 900}),
        (CandidateRequest, {"user_ids": ["u"], "deny": [{}] * 9_000}),
        (SimilarRequest, {"item_ids": ["i"], "where": {"genres": [{}] * 9_000}}),
    ],
)
def test_a_body_full_of_wrong_values_does_not_make_an_error_of_each(kind, body) -> None:
    with pytest.raises(ValidationError) as raised:
        kind.model_validate(body)
    assert raised.value.error_count() < 20


def bodies(filters):
    """Every body that takes filters, and where in it they are."""
    yield CandidateRequest, {"user_ids": ["u"], **filters}, ()
    yield SimilarRequest, {"item_ids": ["i"], **filters}, ()
    yield InvocationRequest, {"dataframe_records": [{"user_id": "u"}], "params": filters}, ("params",)


@pytest.mark.parametrize(
    "filters",
    [
        {"allow": ["a", 17], "deny": []},
        {"where": {"genres": ["a", "b"], "maker": "Ada", "shelf": 3, "fresh": True, "sizes": [1, 2], "none": []}},
        {"where": {"price": {"min": 1, "max": 2.5}, "weight": {"max": None}}},
        {"allow": ["i"] * MAX_FILTER},
    ],
)
def test_filters_arrive_as_they_were_sent(filters) -> None:
    for kind, body, _ in bodies(filters):
        read = kind.model_validate(body)
        read = read.params if kind is InvocationRequest else read
        for name in ("allow", "deny", "where"):
            assert getattr(read, name) == filters.get(name)
    # as the route of invocations hands them on; 1 is not True
    assert repr(Parameters(**filters).model_dump()["where"]) == repr(filters.get("where"))


@pytest.mark.parametrize(
    ("filters", "place"),
    [
        ({"allow": "i"}, ("allow",)),
        ({"deny": [None]}, ("deny", 0)),
        ({"deny": ["i"] * (MAX_FILTER + 1)}, ("deny",)),
        ({"where": ["genres"]}, ("where",)),
        ({"where": {"genres": None}}, ("where", "genres")),
        ({"where": {"genres": [["a"]]}}, ("where", "genres")),
        ({"where": {"price": 1.5}}, ("where", "price")),
        ({"where": {"price": {"from": 1}}}, ("where", "price")),
        ({"where": {"price": {"min": "1"}}}, ("where", "price")),
        ({"where": {f"c{n}": 1 for n in range(101)}}, ("where",)),
    ],
)
def test_filters_that_cannot_be_used_are_named(filters, place) -> None:
    for kind, body, before in bodies(filters):
        with pytest.raises(ValidationError) as raised:
            kind.model_validate(body)
        assert raised.value.errors()[0]["loc"][: len(before + place)] == before + place
