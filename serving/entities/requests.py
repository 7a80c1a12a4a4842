"""What a service of entities takes and gives: the shapes of bodies, with their limits."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StrictInt

from serving.http.fields import Strict
from serving.matching.requests import Told

#: of one request: each is compared with several that are known
MAX_RECORDS = 64

#: records of an entity that are named
MAX_NAMED = 100


class FindRequest(Strict):
    """Records whose entities are wanted; what is not said of an attribute is missing."""

    records: Annotated[list[Told], Field(fail_fast=True, min_length=1, max_length=MAX_RECORDS)]
    n: Annotated[StrictInt, Field(ge=1, le=10)] = Field(5, description="Known records that are named for each.")


class KnownRecord(BaseModel):
    """A known record that may be the same thing."""

    entity_id: str
    source: str
    record_id: str
    probability: float = Field(
        description="That both are the same thing, whatever other records are found: .5 at the threshold."
    )
    same: bool
    values: dict[str, str]


class FoundEntity(BaseModel):
    """What was found for one record."""

    entity_id: str | None = Field(description="That of the likeliest record; null where it is no entity that is known.")
    records: list[KnownRecord] = Field(description="The likeliest first.")


class MapIdentity(BaseModel):
    """Which map answers."""

    version: int
    sha256: str


class FindAnswer(BaseModel):
    """The entities, in the order of the request."""

    entities: MapIdentity
    found: list[FoundEntity]


class CurrentAnswer(BaseModel):
    """What has become of an entity's id."""

    asked: str
    entity_id: str | None = Field(description="Itself, or what it was merged into; null where its records are gone.")
    size: int = Field(description="How many records it has now; of the source that was asked for, where one was.")
    records: list[dict[str, str]] = Field(
        description="The first hundred of them: source and record_id, the feed's own."
    )
