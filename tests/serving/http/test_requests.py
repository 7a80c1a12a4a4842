"""The shapes of bodies: reading one ends at the first wrong value of a list."""

import pytest
from pydantic import ValidationError

from serving.http.requests import CandidateRequest, GoneItemsRequest, InvocationRequest, NewItemsRequest


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
    ],
)
def test_a_body_full_of_wrong_values_does_not_make_an_error_of_each(kind, body) -> None:
    with pytest.raises(ValidationError) as raised:
        kind.model_validate(body)
    assert raised.value.error_count() < 20
