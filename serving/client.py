"""A client of the service, for programs in Python: typed answers, one sentence for what goes wrong, and some patience.

    with Client("http://127.0.0.1:8000") as client:
        for one in client.candidates(["17", "42"], k=10).candidates:
            print(one.user_id, one.item_ids)

It needs httpx and pydantic alone; torch and FAISS are the service's affair.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel

from serving.client_arguments import as_list, listed
from serving.http.answers import CandidateAnswer, LookAnswer, NewItemsAnswer, SimilarAnswer
from serving.http.event_requests import EraseAnswer, EventsAnswer

A = TypeVar("A", bound=BaseModel)
RawId = str | int

#: what has not been done and is worth to be asked again: too much waits, or a service begins or ends
_NOT_DONE = {429, 503}
#: and what may have been, as far as whoever stands between knows: no matter where nothing is changed
_MAYBE = {502, 504}
_ASKING = {"/candidates", "/similar", "/version"}


class ServiceError(Exception):
    """The service cannot be reached, or refuses.

    Args:
        message: One sentence.
        status: Of its answer; None where there was none.
        problems: What it finds wrong with the request, a sentence each, with where.
    """

    def __init__(self, message: str, status: int | None = None, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.status, self.problems = status, tuple(problems)


class Client:
    """Asks a service. Safe to share between threads.

    Args:
        url: Where it is.
        token: What it was started with, for requests that change something.
        timeout: Seconds for each try; the service itself gives up after ten.
        patience: Seconds in which a request that could not be answered for now is asked again; 0 asks once. What
            changes something is asked again only where the service says that it has not been done.

    Example:
        >>> Client("http://127.0.0.1:8000")
        Client('http://127.0.0.1:8000')
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = 15.0, patience: float = 5.0) -> None:
        self._url, self._patience = url.rstrip("/"), patience
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=self._url, headers=headers, timeout=timeout)

    def __repr__(self) -> str:
        return f"Client({self._url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends its connections."""
        self._http.close()

    def candidates(
        self,
        user_ids: Sequence[RawId | None] | None = None,
        histories: Sequence[Sequence[RawId] | None] | None = None,
        k: int = 10,
        **how: Any,
    ) -> CandidateAnswer:
        """The k best items for each of some users.

        Args:
            user_ids: Raw ids; None for a user without one. (B,)
            histories: Raw item ids, oldest first. (B,)
            k: How many.
            how: Other fields of `serving.http.requests.CandidateRequest`.

        Raises:
            ServiceError: It cannot be reached, or refuses.
            TypeError: Something in the place of a list.
        """
        body: dict[str, Any] = {"k": k, **listed(how)}
        if user_ids is not None:
            body["user_ids"] = as_list(user_ids, "user_ids", "ids")
        if histories is not None:
            lists = enumerate(as_list(histories, "histories", "lists of ids"))
            body["histories"] = [one if one is None else as_list(one, f"histories[{n}]", "ids") for n, one in lists]
        return self._ask(CandidateAnswer, "POST", "/candidates", body)

    def similar(self, item_ids: Sequence[RawId], k: int = 10, **how: Any) -> SimilarAnswer:
        """The k items most like each of some items.

        Raises:
            ServiceError: It cannot be reached, or refuses.
            TypeError: Something in the place of a list.
        """
        body = {"item_ids": as_list(item_ids, "item_ids", "ids"), "k": k, **listed(how)}
        return self._ask(SimilarAnswer, "POST", "/similar", body)

    def add_items(self, items: Mapping[RawId, Mapping[str, Any]]) -> NewItemsAnswer:
        """Items that have come since the model was built, with their attributes by column.

        Raises:
            ServiceError: It cannot be reached, or refuses.
            TypeError: Something in the place of items by their ids, or of an item's attributes by column.
        """
        if not isinstance(items, Mapping):
            raise TypeError(f"items are attributes by item id, got {items!r:.60}")
        for one, said in items.items():
            if not isinstance(said, Mapping):
                raise TypeError(f"items[{one!r:.60}] is attributes by column, got {said!r:.60}")
        told = [{"item_id": one, "attributes": dict(said)} for one, said in items.items()]
        return self._ask(NewItemsAnswer, "POST", "/items", {"items": told})

    def remove_items(self, item_ids: Sequence[RawId]) -> NewItemsAnswer:
        """New items that are gone again.

        Raises:
            ServiceError: It cannot be reached, or refuses.
            TypeError: Something in the place of a list.
        """
        return self._ask(NewItemsAnswer, "DELETE", "/items", {"item_ids": as_list(item_ids, "item_ids", "ids")})

    def add_events(self, events: Sequence[Mapping[str, Any]]) -> EventsAnswer:
        """Tells what users have done.

        Args:
            events: Each with user_id, item_id and, where told, timestamp, type, and an event_id that makes it safe to
                post it again.

        Raises:
            ServiceError: It cannot be reached, or refuses; nothing was acknowledged.
            TypeError: Something in the place of a list, or of an event.
        """
        told = as_list(events, "events", "events")
        for n, one in enumerate(told):
            if not isinstance(one, Mapping):
                raise TypeError(f"events[{n}] is an event's fields by name, got {one!r:.60}")
        return self._ask(EventsAnswer, "POST", "/events", {"events": [dict(one) for one in told]})

    def erase_users(self, user_ids: Sequence[RawId]) -> EraseAnswer:
        """Forgets all events of some users, and says what the served model still carries of them.

        Raises:
            ServiceError: It cannot be reached, or refuses.
            TypeError: Something in the place of a list.
        """
        return self._ask(EraseAnswer, "DELETE", "/users", {"user_ids": as_list(user_ids, "user_ids", "ids")})

    def reload(self) -> LookAnswer:
        """Lets the service look at the registry now.

        Raises:
            ServiceError: It cannot be reached, or refuses.
        """
        return self._ask(LookAnswer, "POST", "/admin/reload", None)

    def version(self) -> dict[str, Any]:
        """Which model answers, and what its manifest says of it.

        Raises:
            ServiceError: It cannot be reached.
        """
        return self._answer("GET", "/version", None).json()

    def ready(self) -> bool:
        """Whether a model answers; not so where nobody does."""
        try:
            return self._http.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    def _ask(self, kind: type[A], method: str, path: str, body: Mapping[str, Any] | None) -> A:
        return kind.model_validate_json(self._answer(method, path, body).content)

    def _answer(self, method: str, path: str, body: Mapping[str, Any] | None) -> httpx.Response:
        end, again = time.monotonic() + self._patience, _NOT_DONE | (_MAYBE if path in _ASKING else set())
        while True:
            try:
                answer = self._http.request(method, path, json=body)
            except httpx.HTTPError as error:
                # whether it was done is not known, unless nobody was reached at all
                if not isinstance(error, httpx.ConnectError) or time.monotonic() + 0.2 > end:
                    raise ServiceError(f"{self._url} cannot be reached: {error or type(error).__name__}") from error
                time.sleep(0.2)
                continue
            wait = _seconds(answer)
            if answer.status_code not in again or time.monotonic() + wait > end:
                break
            time.sleep(wait)
        if answer.status_code != 200:
            raise _refusal(answer)
        return answer


def _seconds(answer: httpx.Response) -> float:
    """When to ask again."""
    said = answer.headers.get("retry-after", "")
    return float(said) if said.isdecimal() else 0.5


def _refusal(answer: httpx.Response) -> ServiceError:
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.text[:300]
    if isinstance(detail, str):
        return ServiceError(detail, answer.status_code)
    problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in detail]
    return ServiceError("; ".join(problems), answer.status_code, problems)
