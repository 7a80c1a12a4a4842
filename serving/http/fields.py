"""What fields of bodies may hold, with their limits, and those that several bodies have."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

MAX_USERS = 1_000
MAX_HISTORY = 10_000
MAX_K = 1_000
#: of all lists of an answer together: a thousand users with a hundred each
MAX_CANDIDATES = 100_000
#: of one request: each is read by a language model
MAX_NEW_ITEMS = 256
MAX_ATTRIBUTES = 100
#: ids of a list of allowed or denied items; values of a column that are asked for
MAX_FILTER = 10_000
#: of one attribute: a page of text; the numbers of a vector
MAX_CHARACTERS = 100_000
MAX_VALUES = 10_000

RawId = Annotated[StrictStr, Field(max_length=1_000)] | StrictInt
# The first wrong value ends the reading of a list: a body of two megabytes can hold a million of them, and an error for
# each would take seconds and gigabytes.
History = Annotated[list[RawId], Field(fail_fast=True, max_length=MAX_HISTORY)]
Time = Annotated[StrictInt, Field(ge=-(2**63), lt=2**63)]
Times = Annotated[list[Time], Field(fail_fast=True, max_length=MAX_HISTORY)]
Text = Annotated[StrictStr, Field(max_length=MAX_CHARACTERS)]
Number = StrictInt | Annotated[StrictFloat, Field(allow_inf_nan=False)]
Values = Annotated[list[Text | Number], Field(fail_fast=True, max_length=MAX_VALUES)]
Attribute = Text | Number | StrictBool | Values | None
Filter = Annotated[list[RawId], Field(fail_fast=True, max_length=MAX_FILTER)]
Wanted = Annotated[StrictStr, Field(max_length=1_000)] | StrictInt | StrictBool
AnyOf = Annotated[list[Wanted], Field(fail_fast=True, max_length=MAX_FILTER)]
# without end where nothing is said
Range = Annotated[dict[Literal["min", "max"], Number | None], Field(max_length=2)]
Where = Annotated[dict[str, Wanted | AnyOf | Range], Field(max_length=MAX_ATTRIBUTES)]
Retriever = Literal["unimodal", "mixture", "smoothed"]
Feed = Annotated[
    Text,
    Field(max_length=200, description="A feed of the entity map whose own ids are wanted, too: the answer's feed_ids."),
]
Titles = Annotated[StrictBool, Field(description="Tell each item's title, too, where the items have one.")]


class Strict(BaseModel):
    """A body without fields that nobody asked for."""

    model_config = ConfigDict(extra="forbid")


class Filtered(Strict):
    """Which items an answer may hold, for the whole request."""

    allow: Filter | None = Field(None, description="Raw item ids: no other item is answered.")
    deny: Filter | None = Field(None, description="Raw item ids: none of these is answered; unknown ones are no error.")
    where: Where | None = Field(
        None,
        description="By declared column of the items: a value, a list of values of which an item has one at least, or "
        "{min, max} of numbers. Only items of which all that is true are answered.",
    )
