"""Who may change something: whoever brings the token that the service was started with."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from serving.http.answers import Problems
from serving.http.bounded_body import BoundedRoute

#: so that the documentation says which routes need it, and its pages can send one
bearer = HTTPBearer(auto_error=False, description="The token that the service was started with.")

#: what any route that changes something may answer besides
UNAUTHORISED: dict[int | str, dict[str, Any]] = {
    401: {"model": Problems, "description": "The request brings no token, or another one."},
    403: {"model": Problems, "description": "Nothing can be changed here: the service was started without a token."},
}


def check_token(token: str | None, brought: HTTPAuthorizationCredentials | None) -> None:
    """Refuses a request that brings another token.

    Raises:
        HTTPException: 403 where there is none to bring, 401 where it is another.
    """
    if token is None:
        raise HTTPException(403, "this service was started without a token, so nothing can be changed")
    # both as bytes: compare_digest takes no letters beyond ASCII in strings
    if brought is None or not hmac.compare_digest(brought.credentials.encode(), token.encode()):
        raise HTTPException(
            401, "a bearer token is needed, the one that the service was started with", {"WWW-Authenticate": "Bearer"}
        )


class TokenRoute(BoundedRoute):
    """A route that changes something: who may not is told so before anything of the body is looked at."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, behind the token."""
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            check_token(request.app.state.config.token, await bearer(request))
            return await handler(request)

        return guarded


def token_router(*tags: str) -> APIRouter:
    """A router of routes that need the token; the dependency refuses nobody, and lets the documentation say so."""
    return APIRouter(route_class=TokenRoute, dependencies=[Depends(bearer)], tags=list(tags))
