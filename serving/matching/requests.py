"""What a service of matchers takes and gives: the shapes of bodies, with their limits."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StrictFloat, StrictInt

from serving.http.answers import ModelIdentity
from serving.http.fields import MAX_ATTRIBUTES, Attribute, Strict

#: of one request: a language model reads each
MAX_PAIRS = 256

Told = Annotated[dict[str, Attribute], Field(max_length=MAX_ATTRIBUTES)]


class Pair(Strict):
    """Two records; what is not said of an attribute is missing."""

    left: Told
    right: Told


class MatchRequest(Strict):
    """Pairs of records to be judged."""

    pairs: Annotated[list[Pair], Field(fail_fast=True, min_length=1, max_length=MAX_PAIRS)]
    precision: Annotated[StrictFloat | StrictInt, Field(gt=0, le=1)] | None = Field(
        None,
        description="Wanted among the pairs that are called the same, by the threshold that had it on the validation "
        "pairs; null for the threshold of the best F1.",
    )


class ExplainRequest(Strict):
    """One pair to be explained."""

    left: Told
    right: Told


class Judgement(BaseModel):
    """What is said of one pair."""

    probability: float = Field(description="That both records are the same thing, calibrated.")
    log_odds: float = Field(description="The same, as log-odds.")
    same: bool = Field(description="Whether that is at least the threshold.")


class MatchAnswer(BaseModel):
    """The judgements, in the order of the request."""

    model: ModelIdentity
    threshold: float = Field(description="In log-odds.")
    pairs: list[Judgement]


class WordShare(BaseModel):
    """What one word did."""

    side: str
    attribute: str
    word: str
    place: int = Field(description="Among the words that are read of that attribute on that side, from 0.")
    share: float = Field(description="By how much the log-odds are more than without it.")


class ExplainAnswer(Judgement):
    """What decided about a pair."""

    model: ModelIdentity
    threshold: float = Field(description="In log-odds.")
    uncalibrated_log_odds: float = Field(description="What the differences are of.")
    attributes: dict[str, float] = Field(description="By how much the log-odds are more than without each attribute.")
    words: list[WordShare] = Field(description="What decided most first.")
