"""What the service takes: the shapes of bodies, with their limits. Nothing is coerced silently."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    Field,
    PrivateAttr,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from serving.http.fields import (
    MAX_ATTRIBUTES,
    MAX_CANDIDATES,
    MAX_K,
    MAX_NEW_ITEMS,
    MAX_USERS,
    Attribute,
    Feed,
    Filtered,
    History,
    RawId,
    Retriever,
    Strict,
    Time,
    Times,
    Titles,
)
from serving.http.problems import COLUMNS, problems_of

#: fields that say what is told of an answer, and not what it is
TOLD = ("ids_of", "titles")


class NoBody(Strict):
    """An object without fields."""


class CandidateRequest(Filtered):
    """Users to find candidates for. One of `user_ids` and `histories` at least; with both, they are equally long."""

    user_ids: Annotated[list[RawId | None], Field(fail_fast=True, max_length=MAX_USERS)] | None = Field(
        None, description="Raw ids; null for a user without one. Integers are taken where the catalogue's are integers."
    )
    histories: Annotated[list[History | None], Field(fail_fast=True, max_length=MAX_USERS)] | None = Field(
        None, description="Raw item ids, oldest first, of each user; they replace what is stored of a known user."
    )
    history_times: Annotated[list[Times | None], Field(fail_fast=True, max_length=MAX_USERS)] | None = Field(
        None, description="When each item of the histories came, in the unit of the training data, if the model asks."
    )
    asked_at: Annotated[list[Time | None], Field(fail_fast=True, max_length=MAX_USERS)] | None = Field(
        None, description="When each user asks; null for just after the latest item."
    )
    attributes: Annotated[list[dict[str, Attribute] | None], Field(fail_fast=True, max_length=MAX_USERS)] | None = (
        Field(None, description="Declared attributes of each user, by column.")
    )
    k: StrictInt = Field(10, ge=1, le=MAX_K, description="How many candidates for each user.")
    exclude_seen: StrictBool | None = Field(
        None, description="Leave out what the user knows already; null for as the model was measured."
    )
    rerank: StrictBool = Field(False, description="Order the candidates by the model's ranker, where it has one.")
    rerank_depth: StrictInt = Field(
        100, ge=1, le=MAX_K, description="How many candidates the ranker chooses from, where k is not more."
    )

    interests: Retriever | None = Field(
        None,
        description="Ask for each of a user's interests (mixture), also for what similar users are interested in "
        "(smoothed), or for the user as a whole (unimodal); null for as the model says.",
    )
    ids_of: Feed | None = None
    titles: Titles = False

    @model_validator(mode="after")
    def _bounded(self) -> CandidateRequest:
        users = len(self.user_ids if self.user_ids is not None else self.histories or ())
        check_size(users, self.k, self.rerank_depth if self.rerank else 0)
        return self


class SimilarRequest(Filtered):
    """Items to find similar ones of."""

    item_ids: Annotated[list[RawId], Field(fail_fast=True, max_length=MAX_USERS)] = Field(
        description="Raw ids. Integers are taken where the catalogue's are integers."
    )
    k: StrictInt = Field(10, ge=1, le=MAX_K, description="How many similar items of each.")
    ids_of: Feed | None = None
    titles: Titles = False

    @model_validator(mode="after")
    def _bounded(self) -> SimilarRequest:
        check_size(len(self.item_ids), self.k, of="items")
        return self


class NewItem(Strict):
    """An item that has come since the model was built."""

    item_id: RawId
    attributes: Annotated[dict[str, Attribute], Field(max_length=MAX_ATTRIBUTES)] = Field(
        description="What is said of it, by column: declared attributes, and what its text is made of."
    )


class NewItemsRequest(Strict):
    """Items to take in; one that has come before is replaced."""

    items: Annotated[list[NewItem], Field(fail_fast=True, min_length=1, max_length=MAX_NEW_ITEMS)]


class GoneItemsRequest(Strict):
    """New items to take out again."""

    item_ids: Annotated[list[RawId], Field(fail_fast=True, min_length=1, max_length=MAX_USERS)]


class Parameters(Filtered):
    """The parameters of an invocation."""

    k: StrictInt = Field(10, ge=1, le=MAX_K)
    exclude_seen: StrictBool | None = None
    rerank: StrictBool = False
    rerank_depth: StrictInt = Field(100, ge=1, le=MAX_K)
    interests: Retriever | None = None


_COLUMNS = tuple(COLUMNS.values())
_THERE_ARE = f"there are {', '.join(_COLUMNS[:-1])} and {_COLUMNS[-1]}"


def _wrong(sentence: str, *place: str | int) -> PydanticCustomError:
    """Something is wrong further in than where pydantic stands."""
    # as a value, for what clients have sent is no template
    return PydanticCustomError("value_error", "{sentence}", {"sentence": sentence, "place": place})


class Record(Strict):
    """One user of an invocation."""

    user_id: RawId | None = None
    history: History | None = None
    history_times: Times | None = None
    asked_at: Time | None = None

    @model_validator(mode="before")
    @classmethod
    def _known_columns(cls, given: Any) -> Any:
        for name in given if isinstance(given, dict) else ():
            if name not in _COLUMNS:
                raise _wrong(f"there is no such column; {_THERE_ARE}", str(name)[:60])
        return given


class SplitFrame(Strict):
    """A data frame as pandas writes it with `orient="split"`."""

    columns: Annotated[list[StrictStr], Field(fail_fast=True, min_length=1)] = Field(
        json_schema_extra={"items": {"enum": list(_COLUMNS)}}
    )
    data: Annotated[list[Annotated[list[Any], Field(max_length=4)]], Field(fail_fast=True, max_length=MAX_USERS)]
    index: list[Any] | None = None
    _records: list[Record] = PrivateAttr(default_factory=list)

    @model_validator(mode="after")
    def _as_records(self) -> SplitFrame:
        for n, name in enumerate(self.columns):
            if name not in _COLUMNS:
                raise _wrong(f"there is no {name[:60]!r}; {_THERE_ARE}", "columns", n)
            if name in self.columns[:n]:
                raise _wrong(f"{name!r} is there already", "columns", n)
        for n, row in enumerate(self.data):
            if len(row) != len(self.columns):
                raise _wrong(f"{len(row)} values, and there are {len(self.columns)} columns", "data", n)
            try:
                self._records.append(Record(**dict(zip(self.columns, row, strict=True))))
            except ValidationError as error:
                first = problems_of(error.errors())[0]
                raise _wrong(first["msg"], "data", n, *first["loc"]) from None
        return self


class InvocationRequest(Strict):
    """The body of MLflow's scoring server: `dataframe_split` or `dataframe_records`, and `params`."""

    dataframe_split: SplitFrame | None = None
    dataframe_records: Annotated[list[Record], Field(fail_fast=True, max_length=MAX_USERS)] | None = None
    params: Parameters | None = None

    @model_validator(mode="before")
    @classmethod
    def _other_forms(cls, given: Any) -> Any:
        for name in ("inputs", "instances"):
            if isinstance(given, dict) and name in given:
                raise _wrong(f"{name} are not taken here; give dataframe_split or dataframe_records", name)
        return given

    @model_validator(mode="after")
    def _one_frame(self) -> InvocationRequest:
        if (self.dataframe_split is None) == (self.dataframe_records is None):
            raise ValueError("give either dataframe_split or dataframe_records")
        params = self.params or Parameters()
        check_size(len(self.records()), params.k, params.rerank_depth if params.rerank else 0)
        return self

    def records(self) -> list[Record]:
        """The users, whichever way they were given."""
        return self.dataframe_split._records if self.dataframe_split is not None else self.dataframe_records or []

    def question(self) -> CandidateRequest:
        """The same as a request for candidates."""
        records = self.records()
        columns = {name: [getattr(one, column) for one in records] for name, column in COLUMNS.items()}
        # a column that says nothing of anybody is one that is not there, as in frames that others have filled
        told: dict[str, Any] = {
            name: one for name, one in columns.items() if name in _ALWAYS or any(v is not None for v in one)
        }
        return CandidateRequest.model_construct(**told, **(self.params or Parameters()).model_dump())


_ALWAYS = ("user_ids", "histories")


def check_size(asked: int, k: int, rerank_depth: int = 0, of: str = "users") -> None:
    """Refuses answers without end, and re-ranking without end.

    Raises:
        ValueError: More candidates than one answer holds, or than are re-ranked for one.
    """
    for name, number in (("k", k), ("rerank_depth", rerank_depth)):
        if asked * number > MAX_CANDIDATES:
            raise ValueError(
                f"{asked} {of} x {name}={number} are more than the {MAX_CANDIDATES} candidates of one answer"
            )
