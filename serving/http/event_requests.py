"""Events and users over HTTP: what the service takes and gives, with limits."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StrictStr

from serving.http.answers import ModelIdentity
from serving.http.fields import MAX_USERS, RawId, Strict, Time

#: of one request: two megabytes of body hold no more of them either
MAX_EVENTS = 1_000
MAX_TYPE = 100
MAX_EVENT_ID = 200


class PostedEvent(Strict):
    """A user did something with an item."""

    user_id: RawId
    item_id: RawId = Field(description="The catalogue need not have it; it counts once it does.")
    timestamp: Time | None = Field(None, description="When, in the unit of the training data; null for now.")
    type: Annotated[StrictStr, Field(min_length=1, max_length=MAX_TYPE)] | None = Field(
        None, description="What was done, such as view or purchase."
    )
    event_id: Annotated[StrictStr, Field(min_length=1, max_length=MAX_EVENT_ID)] | None = Field(
        None,
        description="The event's own id: posted twice for a user, it is kept once. With it, a post can be repeated.",
    )


class EventsRequest(Strict):
    """Events to keep: all of them or none."""

    events: Annotated[list[PostedEvent], Field(fail_fast=True, min_length=1, max_length=MAX_EVENTS)]


class EraseRequest(Strict):
    """Users to forget."""

    user_ids: Annotated[list[RawId], Field(fail_fast=True, min_length=1, max_length=MAX_USERS)]


class EventsAnswer(BaseModel):
    """What became of events."""

    model: ModelIdentity
    taken: int = Field(description="How many are kept from now on; they outlive the service.")
    repeated: int = Field(description="How many were kept already, by their event ids.")
    unknown_items: int = Field(description="How many are of items that nobody can be recommended yet.")


class CarriedUser(BaseModel):
    """A user of whom the served model still says something."""

    user_id: str
    history_items: int = Field(description="How many items of the user's it has stored.")
    trained: bool = Field(description="Whether it has learned from the user.")


class EraseAnswer(BaseModel):
    """Who is forgotten, and by whom not yet."""

    model: ModelIdentity
    erased: int = Field(description="How many events there were.")
    carried: list[CarriedUser] = Field(description="Users whom the served model still carries, until the next build.")
    impressions: str | None = Field(
        description="What is left to do where the service notes its answers: those that it has noted are kept, and "
        "this says how to erase the users' among them. Null where it notes none."
    )
