"""What the page asks, and what it is told: the shapes of bodies, with their limits. Ids are strings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StrictInt, StrictStr, model_validator

from serving.http.answers import ModelIdentity
from serving.http.fields import MAX_HISTORY, Retriever, Strict

MAX_TEXT = 200
MAX_FOUND = 50
MAX_CANDIDATES_SHOWN = 100

_Id = Annotated[StrictStr, Field(min_length=1, max_length=1_000)]


class SearchRequest(Strict):
    """Items to be found by a part of what they are called."""

    text: Annotated[StrictStr, Field(min_length=1, max_length=MAX_TEXT)]
    n: StrictInt = Field(10, ge=1, le=MAX_FOUND, description="How many at most.")


class PortraitRequest(Strict):
    """A user to look at, by an id, by a history, or by both: then the history replaces what is stored."""

    user_id: _Id | None = None
    history: Annotated[list[_Id], Field(fail_fast=True, max_length=MAX_HISTORY)] | None = None
    k: StrictInt = Field(20, ge=1, le=MAX_CANDIDATES_SHOWN, description="How many candidates.")
    interests: Retriever | None = Field(None, description="As in /candidates.")

    @model_validator(mode="after")
    def _somebody(self) -> PortraitRequest:
        if self.user_id is None and self.history is None:
            raise ValueError("give user_id, history or both")
        return self


class NamedItem(BaseModel):
    """An item as people read of it."""

    item_id: str
    title: str | None


class SearchAnswer(BaseModel):
    """What was found, the most popular first, but for what is called just so."""

    model: ModelIdentity
    items: list[NamedItem]


class ExampleAnswer(BaseModel):
    """Whom and what to begin with."""

    model: ModelIdentity
    users: list[str]
    items: list[NamedItem]


class StandingInterest(BaseModel):
    """One of a user's interests."""

    weight: float = Field(description="Its share of the user.")
    because: NamedItem | None = Field(description="An item that says what it is.")
    own: bool = Field(description="Whether the user has had that item; else similar users have.")


class Why(BaseModel):
    """Why a candidate is there."""

    kind: Literal["interest", "history", "seen", "user", "popularity"]
    sentence: str
    item: NamedItem | None = Field(description="Which the sentence names.")
    cosine: float | None = Field(description="Of the two items' vectors.")
    interest: int | None = Field(description="Which interest brought it, from 0.")


class ExplainedCandidate(BaseModel):
    """One candidate."""

    item: NamedItem
    score: float
    why: Why


class PortraitAnswer(BaseModel):
    """What can be seen of one user."""

    model: ModelIdentity
    user_id: str | None
    known: bool = Field(description="Whether the model's users have the id.")
    source: Literal["user", "history", "popularity"]
    unknown: int = Field(description="Given items that the model does not read; they were left out.")
    length: int = Field(description="Of the history.")
    history: list[NamedItem] = Field(description="Its last items, oldest first.")
    interests: list[StandingInterest]
    candidates: list[ExplainedCandidate]
