"""The port: who listens at it, what a client may do to a connection, and how the service ends."""

from __future__ import annotations

import asyncio
import math
import signal
import socket
import time
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from features.errors import InputError
from serving.log import tell

if TYPE_CHECKING:
    from fastapi import FastAPI

#: for how long a client may take to say what it wants, and how much of that there may be before the body
_HEAD_SECONDS = 20.0
_HEAD_BYTES = 64 << 10

#: connections of a process: each may hold a body in memory
_CONNECTIONS = 1024


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        InputError: The port cannot be listened at.
    """
    # The protocol is named, because asyncio turns Nagle's algorithm off only where it is; with it every answer that
    # follows another on the same connection would wait 40 ms for an acknowledgement.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except (OSError, OverflowError) as error:
        listener.close()
        raise InputError(f"cannot listen at {host} port {port}: {getattr(error, 'strerror', None) or error}") from error
    return listener


class PatientOnce(HttpToolsProtocol):
    """A connection that is closed when a request has begun and its head does not end, in time or in length.

    Where heads and messages end, the parser says: one packet may hold the end of a head and much of a body, and a body
    may go on when its request has long been answered.
    """

    _late: asyncio.TimerHandle | None = None
    _head = 0
    _in_body = False

    # as in uvicorn: a server's connections can be written to, which asyncio's types do not say
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Waits for a request, for a while."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Reads what has come."""
        busy = self.cycle is not None and not self.cycle.response_complete
        if not busy:
            self._wait()
        if not self._in_body:
            self._head += len(data)
        super().data_received(data)
        if self._head > _HEAD_BYTES:  # and no head has ended in what has come
            self.transport.close()

    def on_headers_complete(self) -> None:
        """The head is over."""
        self._done()
        self._in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is over, too."""
        self._in_body = False
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        self._done()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(_HEAD_SECONDS, self.transport.close)

    def _done(self) -> None:
        self._head = 0
        if self._late is not None:
            self._late.cancel()
            self._late = None


class Server(uvicorn.Server):
    """One that says that it ends before it does, so that whoever sends requests to several servers stops in time.

    Args:
        config: Uvicorn's.
        app: The application.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app, self._began, self._until = app, 0.0, float("inf")
        self._signals: list[int] = []
        self._told = 0

    @property
    def status(self) -> int:
        """What its process ends with: SIGTERM is how a service is ended, and Ctrl-C interrupts it."""
        return 130 if self._signals[:1] == [signal.SIGINT] else 0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins to end; a second signal does not wait for requests to come, a further Ctrl-C for none at all."""
        # Uvicorn's own would raise the signal again in the end, and the process would die of it.
        self._signals.append(sig)
        if self.should_exit:
            self.force_exit = self.force_exit or sig == signal.SIGINT
        elif sig == signal.SIGTERM and not self._app.state.draining:
            self._until = time.monotonic() + self._app.state.config.drain_seconds
        else:
            self.should_exit = True
        if not self._app.state.draining:
            self._app.state.draining, self._began = True, time.monotonic()

    async def on_tick(self, counter: int) -> bool:
        """Whether it ends now."""
        self._tell_signals()
        self.should_exit = self.should_exit or time.monotonic() >= self._until
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answers what is in flight, and ends."""
        self._tell_signals()
        await super().shutdown(sockets)
        self._tell_signals()
        if self._signals:
            tell("drained", seconds=round(time.monotonic() - self._began, 3))

    def _tell_signals(self) -> None:
        """Into the log: not by the handler, because a signal may come amid the writing of another line."""
        for number in self._signals[self._told :]:
            tell("signal", signal=signal.Signals(number).name)
            if not self._told:
                seconds = self._app.state.config.drain_seconds if number == signal.SIGTERM else 0.0
                tell("draining", taken_for_seconds=seconds)
            self._told += 1


def answer_at(app: FastAPI, listener: socket.socket) -> int:
    """Answers requests until the process is told to end.

    Args:
        app: The application.
        listener: What `listen` gave.

    Returns:
        What the process is to end with: 0 after SIGTERM, 130 after SIGINT.
    """
    settings: dict[str, Any] = {"loop": "uvloop", "http": PatientOnce, "ws": "none", "log_level": "error"}
    # the handlers of the log are the process's, and not uvicorn's
    settings |= {"log_config": None, "timeout_graceful_shutdown": math.ceil(app.state.config.end_seconds)}
    config = uvicorn.Config(app, **settings, limit_concurrency=_CONNECTIONS, timeout_keep_alive=30)
    server = Server(config, app)
    server.run(sockets=[listener])
    return server.status


def address_of(listener: socket.socket, host: str) -> str:
    """Where a listener is reached."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
