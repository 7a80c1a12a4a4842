"""What fails around a service that is asked all the while: the registry, the disk, its own processes."""

from __future__ import annotations

import errno
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import mlflow
import pytest

from features.errors import InputError
from serving.bundles.writer import write_bundle
from serving.pyfunc_model import log_bundle
from serving.resolve import resolve
from serving.state.sqlite_events import SQLiteEvents

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-of-this-test"


@pytest.fixture
def running(free_port, until):
    """Starts a server in a process group of its own; once it answers, its process and port."""

    @contextmanager
    def started(command, path="/readyz", **environment):
        port = free_port()
        command = [sys.executable, *(str(port) if one is None else str(one) for one in command)]
        process = subprocess.Popen(
            command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, "RECSYS_TOKEN": TOKEN, **environment},
        )  # fmt: skip
        try:
            until(lambda: get(port, path) is not None, 120)
            yield process, port
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)

    return started


def get(port: int, path: str) -> str | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.read().decode()
    except (ConnectionError, urllib.error.URLError, TimeoutError):
        return None


class Asking:
    """Asks in the background, and notes what came back."""

    def __init__(self, port: int) -> None:
        self.port, self.answers, self.failures = port, 0, []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(30)

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self._stop.is_set():
            try:
                body = json.dumps({"user_ids": ["u001"], "k": 3})
                connection.request("POST", "/candidates", body, {"content-type": "application/json"})
                answer = connection.getresponse()
                told = answer.read()
                if answer.status == 200:
                    self.answers += 1
                else:
                    self.failures.append(told)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(error)
                connection.close()
            time.sleep(0.01)
        connection.close()


def test_no_acknowledged_event_is_lost_when_workers_are_killed(string_folder, tmp_path, running, until):
    kept = tmp_path / "events.sqlite"
    acknowledged: set[str] = set()
    stop = threading.Event()

    def post(port: int, who: int) -> None:
        n = 0
        headers = {"content-type": "application/json", "authorization": f"Bearer {TOKEN}"}
        while not stop.is_set():
            n += 1
            name = f"{who}-{n}"
            told = {"events": [{"user_id": f"new-{who}", "item_id": "sku-001", "event_id": name}]}
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            try:
                connection.request("POST", "/events", json.dumps(told), headers)
                if connection.getresponse().status == 200:
                    acknowledged.add(name)
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()

    command = ["-m", "training.cli", "serve", "--model", string_folder, "--port", None, "--workers", "2"]
    with running([*command, "--events", kept]) as (process, port):
        threads = [threading.Thread(target=post, args=(port, who)) for who in range(4)]
        for one in threads:
            one.start()
        for _ in range(2):
            before = len(acknowledged)
            until(lambda before=before: len(acknowledged) > before + 50)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(int(children[0]), signal.SIGKILL)
        before = len(acknowledged)
        until(lambda: len(acknowledged) > before + 50)
        stop.set()
        for one in threads:
            one.join(30)
    store = SQLiteEvents(kept)
    there = {one.event_id for one in store.everything()}
    store.close()
    assert len(acknowledged) > 150
    assert acknowledged <= there


class Line:
    """Leads from a port to another, until it is cut."""

    def __init__(self, to: int) -> None:
        self.port, self._to = 0, to  # the system chooses one
        self.join()

    def join(self) -> None:
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for one in (self._listener, *self._open):
            one.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                return
            self._open += [near, far]
            for ends in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=ends, daemon=True).start()

    @staticmethod
    def _carry(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def test_a_registry_that_is_away_changes_nothing_and_is_found_again(
    string_folder, strings, tiny, tmp_path, running, until
):
    """A real MLflow server, which keeps the artifacts as well: what it names has to be downloaded."""
    server = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", None, "--workers", "1",
              "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db",
              "--artifacts-destination", tmp_path / "artifacts"]  # fmt: skip
    command = ["-m", "training.cli", "serve", "--model", "models:/shop@champion", "--port", None, "--poll", "0.2",
               "--events", "none"]  # fmt: skip
    before = mlflow.get_tracking_uri()
    with running(server, "/health") as (_, server_port):
        line = Line(server_port)
        environment = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{line.port}",
                       "XDG_CACHE_HOME": str(tmp_path / "cache"), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}  # fmt: skip
        try:
            mlflow.set_tracking_uri(f"http://127.0.0.1:{server_port}")
            other = write_bundle(tmp_path / "other", tiny.model_for(strings, seed=1), strings, name="tiny")
            with mlflow.start_run(experiment_id=mlflow.create_experiment("e")):
                for one in (string_folder, other):
                    log_bundle(one, registered_model_name="shop")
            client = mlflow.MlflowClient()
            client.set_registered_model_alias("shop", "champion", "1")
            with running(command, **environment) as (_, port), Asking(port) as asking:
                assert json.loads(get(port, "/version"))["version"] == "1"
                line.cut()
                until(lambda: "recsys_registry_failures_total 0.0" not in get(port, "/metrics"))
                client.set_registered_model_alias("shop", "champion", "2")
                assert json.loads(get(port, "/version"))["version"] == "1"
                line.join()
                until(lambda: json.loads(get(port, "/version"))["version"] == "2")
            assert asking.answers > 20 and not asking.failures
        finally:
            mlflow.set_tracking_uri(before)


def test_a_full_disk_while_a_version_is_fetched_leaves_nothing_half_written(
    string_folder, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    before = mlflow.get_tracking_uri()
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    try:
        experiment = mlflow.create_experiment("e", artifact_location=(tmp_path / "artifacts").as_uri())
        with mlflow.start_run(experiment_id=experiment):
            log_bundle(string_folder, registered_model_name="shop")
    finally:
        mlflow.set_tracking_uri(before)
    (tmp_path / "artifacts").rename(tmp_path / "elsewhere")  # so that it has to be fetched
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def full(artifact_uri, dst_path, tracking_uri):
        (Path(dst_path) / "weights.safetensors").write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("mlflow.artifacts.download_artifacts", full)
    with pytest.raises(InputError, match=r"cannot be fetched: .*No space left on device"):
        resolve("models:/shop/1", uri)
    assert not [one for one in (tmp_path / "cache").rglob("*") if one.is_file()]

    def fetched(artifact_uri, dst_path, tracking_uri):
        found = Path(dst_path) / "m"
        found.mkdir()
        (found / "artifacts").symlink_to(next((tmp_path / "elsewhere").rglob("artifacts/bundle")).parent)
        return str(found)

    monkeypatch.setattr("mlflow.artifacts.download_artifacts", fetched)
    assert (resolve("models:/shop/1", uri).folder / "manifest.json").is_file()
