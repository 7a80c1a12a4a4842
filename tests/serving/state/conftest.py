"""A real Redis, on the loopback alone, and a store of each kind."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time

import pytest

from serving.state.redis_events import RedisEvents
from serving.state.sqlite_events import SQLiteEvents


class RedisServer:
    """A server that can be killed and started again; what it has acknowledged is on its disk."""

    def __init__(self, program: str, folder) -> None:
        self.program, self.folder, self.process = program, folder, None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        told = {"port": self.port, "bind": "127.0.0.1", "dir": self.folder, "save": ""}
        told |= {"appendonly": "yes", "appendfsync": "always"}
        options = [word for name, value in told.items() for word in (f"--{name}", str(value))]
        self.process = subprocess.Popen([self.program, *options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert time.monotonic() < deadline and self.process.poll() is None, "Redis does not start"
                time.sleep(0.02)

    def kill(self) -> None:
        """As kill -9 does."""
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def redis_program() -> str:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed (apt-get install redis-server)")
    return program


@pytest.fixture(scope="session")
def shared_redis(redis_program, tmp_path_factory):
    server = RedisServer(redis_program, tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_server(redis_program, tmp_path):
    """One for a test that kills it."""
    (tmp_path / "redis").mkdir()
    server = RedisServer(redis_program, tmp_path / "redis")
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=["sqlite", "redis"])
def make_store(request, tmp_path):
    """Makes stores that share what they keep."""
    made = []

    def make(**settings):
        if request.param == "sqlite":
            made.append(SQLiteEvents(tmp_path / "events.sqlite", **settings))
        else:
            url = request.getfixturevalue("shared_redis").url
            made.append(RedisEvents(url, prefix=f"{request.node.name}:", **settings))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make_store):
    return make_store()
