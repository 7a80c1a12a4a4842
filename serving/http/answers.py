"""What the service gives: the shapes of its answers."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

_FEED_IDS = (
    "What the feed that ids_of names calls each item: several ids where it tells of one thing twice, none where it "
    "tells of none such; only where a feed was named."
)
_TITLES = "Each item's title, null for one without; only where titles were asked for, and null where no item has one."


class ModelIdentity(BaseModel):
    """Which model answered."""

    name: str
    version: str | None = Field(description="In the registry; null for a bundle that was loaded from a folder.")
    build_id: str


class Interest(BaseModel):
    """One of a user's interests."""

    weight: float = Field(description="Its share of the user.")
    because: str | None = Field(description="An item that says what it is.")
    own: bool = Field(description="Whether the user has had that item; else similar users have.")


class Candidates(BaseModel):
    """One user's list, best first."""

    user_id: str | None
    source: Literal["user", "history", "popularity"] = Field(
        description="What the list follows from: what the model knows of the user, the given history, or neither."
    )
    item_ids: list[str]
    scores: list[float] = Field(
        description="Inner products; where interests are merged by weight, the weight of the one that brought the "
        "item, divided by the item's place among its items, from a half; probabilities where re-ranked; for "
        "popularity, how often training saw the item."
    )
    unknown_history_items: int = Field(description="Given history items that the catalogue lacks; they were left out.")
    interests: list[Interest] | None = Field(
        None, description="The user's interests, the heaviest first; only where several were asked for."
    )
    interest_of: list[int] | None = Field(None, description="Which of them brought each item, from 0.")
    feed_ids: list[list[str]] | None = Field(None, description=_FEED_IDS)
    titles: list[str | None] | None = Field(None, description=_TITLES)


class CandidateAnswer(BaseModel):
    """The users' lists, in the order of the request."""

    model: ModelIdentity
    candidates: list[Candidates]


class Similar(BaseModel):
    """One item's list, best first."""

    item_id: str
    source: Literal["item", "unknown"] = Field(description="Unknown: the catalogue lacks the item; the list is empty.")
    item_ids: list[str]
    scores: list[float] = Field(description="Cosines of the items' vectors.")
    feed_ids: list[list[str]] | None = Field(None, description=_FEED_IDS)
    titles: list[str | None] | None = Field(None, description=_TITLES)


class SimilarAnswer(BaseModel):
    """The items' lists, in the order of the request."""

    model: ModelIdentity
    similar: list[Similar]


class NewItemsAnswer(BaseModel):
    """What became of new items."""

    model: ModelIdentity
    changed: int = Field(description="How many were taken in, new or in place of what was said before; or taken out.")
    new_items: int = Field(description="How many there are now.")


class LookAnswer(BaseModel):
    """What became of a look at the registry, and which model answers now."""

    model: ModelIdentity
    outcome: Literal["unchanged", "swapped", "refused", "failed", "unasked"]
    version: str | None = Field(description="Which the registry names.")
    why: str | None = Field(description="What was wrong with it, if anything.")


class InvocationAnswer(BaseModel):
    """As MLflow's scoring server answers, and which model it was."""

    predictions: list[Candidates]
    model: ModelIdentity


class Problem(BaseModel):
    """One thing that is wrong with a request."""

    loc: list[str | int] = Field(description="Where: the field's name, and the places in its lists.")
    msg: str
    type: str


class Problems(BaseModel):
    """Why a request was refused."""

    detail: list[Problem] | str
