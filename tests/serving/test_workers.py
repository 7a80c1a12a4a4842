"""Several processes at one port: they share the index, one that dies is replaced, and all end together."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")

ROOT = Path(__file__).parents[2]


def start(port, folder, *arguments, token: str | None = None, **pipes) -> tuple[subprocess.Popen, int]:
    command = [sys.executable, "-m", "training.cli", "serve", "--model", str(folder), "--port", str(port), *arguments]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **pipes}
    environment = {name: one for name, one in os.environ.items() if name != "RECSYS_TOKEN"}
    environment |= {} if token is None else {"RECSYS_TOKEN": token}
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **pipes), port


def get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return answer.read().decode()


def ask(port: int) -> dict:
    body = json.dumps({"user_ids": ["u001"], "k": 3}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/candidates", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def children(process: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except FileNotFoundError:
        return []


def answering(port: int) -> int:
    try:
        return sum(
            int(float(one)) for one in re.findall(r"^recsys_model_workers\{.*\} (\S+)$", get(port, "/metrics"), re.M)
        )
    except (ConnectionError, urllib.error.URLError):
        return 0


@pytest.fixture(scope="module")
def service(string_folder, free_port, until):
    process, port = start(free_port(), string_folder, "--workers", "2")
    try:
        until(lambda: answering(port) == 2)
        yield process, port
    finally:
        process.kill()
        process.communicate()


def test_they_share_the_pages_of_one_index(service, string_folder):
    ask(service[1])
    for worker in children(service[0].pid):
        maps = Path(f"/proc/{worker}/smaps").read_text()
        mapped = [part for part in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", maps, flags=re.M) if "items.faiss" in part]
        assert mapped, "the index is a copy in memory, and not the file"
        # none of its pages is this process's own
        assert all(int(one) == 0 for part in mapped for one in re.findall(r"^Private_Dirty: +(\d+)", part, re.M))


def test_one_that_is_killed_is_replaced_and_the_other_answers_meanwhile(service):
    process, port = service
    first = children(process.pid)
    assert len(first) == 2
    expected = ask(port)["candidates"]
    os.kill(first[0], signal.SIGKILL)
    lost = 0
    end = time.monotonic() + 90
    while len(set(children(process.pid)) - {first[0]}) < 2 or answering(port) < 2:
        try:
            assert ask(port)["candidates"] == expected
        except (ConnectionError, urllib.error.URLError):
            lost += 1
        assert time.monotonic() < end
        time.sleep(0.02)
    assert lost <= 1  # what the dead one was about to answer
    assert first[1] in children(process.pid)
    # what the dead one has counted still counts
    assert 'recsys_requests_total{route="/candidates",status="200"}' in get(port, "/metrics")


def test_somebody_who_asks_one_of_them_to_look_has_all_of_them_look(plain_registry, string_folder, free_port, until):
    for _ in range(2):
        plain_registry.register(string_folder)
    plain_registry.crown(1)
    more = ["--workers", "2", "--poll", "0", "--events", "none", "--tracking-uri", plain_registry.uri]
    token = "a-token-of-this-test"
    process, port = start(free_port(), "models:/shop@champion", *more, token=token)
    try:
        until(lambda: answering(port) == 2)
        plain_registry.crown(2)
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        asked = urllib.request.Request(f"http://127.0.0.1:{port}/admin/reload", b"{}", headers)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            assert json.load(answer)["outcome"] == "swapped"
        until(lambda: workers_of(port, "2") == 2)
        assert workers_of(port, "1") == 0
    finally:
        process.kill()
        process.communicate()


def workers_of(port: int, version: str) -> int:
    found = re.findall(rf'^recsys_model_workers\{{.*version="{version}".*\}} (\S+)$', get(port, "/metrics"), re.M)
    return sum(int(float(one)) for one in found)


#: is `recsys serve`, and notes who looks something up
COUNTS = """
import os, sys
from pathlib import Path
import serving.looked_up
from serving.following import Following
notes, aside = Path(sys.argv.pop(1)), serving.looked_up.resolve_aside
def noted(what):
    (notes / f"{what}-{os.getpid()}-{os.urandom(4).hex()}").touch()
def resolve_aside(*arguments):
    noted("looked_up")
    return aside(*arguments)
def following(*arguments):
    noted("followed")
    raise ValueError
serving.looked_up.resolve_aside, Following.__call__ = resolve_aside, following
from training.cli import main
sys.exit(main(["serve", *sys.argv[1:]]))
"""


def test_a_version_is_looked_up_once_for_all_of_them_and_not_followed(
    plain_registry, string_folder, tmp_path, free_port, until
):
    plain_registry.register(string_folder)
    (notes := tmp_path / "notes").mkdir()
    port = free_port()
    command = [sys.executable, "-c", COUNTS, str(notes), "--model", "models:/shop", "--port", str(port)]
    command += ["--workers", "2", "--poll", "0.05", "--events", "none", "--tracking-uri", plain_registry.uri]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: answering(port) == 2)
        plain_registry.register(string_folder)  # which is the newest now, and nobody has promoted it
        time.sleep(0.5)
        assert workers_of(port, "1") == 2 and workers_of(port, "2") == 0
        process.terminate()
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
    (note,) = notes.iterdir()
    assert note.name.startswith(f"looked_up-{process.pid}-")
    assert said.count("models:/shop is its newest version, 1,") == 1


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_they_end_together_and_the_log_says_so(string_folder, free_port, until, tmp_path, number, status):
    out, log = tmp_path / "out", tmp_path / "log"
    with out.open("w") as to, log.open("w") as errors:
        process, port = start(free_port(), string_folder, "--workers", "2", "--log-requests", stdout=to, stderr=errors)

    def lines():
        return [json.loads(line) for line in log.read_text().splitlines()]

    def both_have_answered():
        return answering(port) and len({one["pid"] for one in lines() if one["event"] == "request"}) == 2

    try:
        until(both_have_answered)
        workers = children(process.pid)
        process.send_signal(number)
        assert process.wait(30) == status
        assert not any(Path(f"/proc/{one}").exists() for one in workers)
    finally:
        process.kill()
        process.wait()
    greeting = out.read_text()
    token = re.search(r"token of this run, .*: (\S+)\n", greeting)[1]
    assert greeting.count(f"at http://127.0.0.1:{port} (documentation:") == 1  # by one of them
    assert token not in log.read_text()
    for one in (process.pid, *workers):
        events = [line["event"] for line in lines() if line["pid"] == one and line["event"] != "request"]
        assert events == (["signal"] if one == process.pid else ["loaded", "signal", "draining", "drained"])


def test_none_outlives_the_one_that_began_them(string_folder, free_port, until):
    process, port = start(free_port(), string_folder, "--workers", "2")
    try:
        until(lambda: answering(port) == 2)
        workers = children(process.pid)
        process.kill()
        until(lambda: not any(gone(one) is False for one in workers), 30)
    finally:
        process.kill()
        process.communicate()


def gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_what_cannot_be_served_is_told_and_not_tried_for_ever(tmp_path, free_port):
    (tmp_path / "manifest.json").write_text("{}")
    process, _ = start(free_port(), tmp_path, "--workers", "2")
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 2
    assert re.fullmatch(r"recsys serve: error: .*\n", errors)  # once, though there are two
