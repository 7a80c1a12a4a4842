"""The real server in a process of its own: how soon it answers, what it has imported, what bad clients do to it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import nullcontext
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: what takes seconds to import; torch brings sympy where it is made to draw weights that have no memory
HEAVY = {
    *("torchrec", "fbgemm_gpu", "pytorch_lightning", "lightning", "mlflow", "pandas", "scipy", "sympy"),
    "transformers",
}
#: is `recsys serve`, and says at /modules what has been imported
PROGRAM = """
import sys
import threading
import warnings
import serving.http.app
import serving.http.listening
serving.http.listening._HEAD_SECONDS = 2.0
made = serving.http.app.create_app
def create_app(*arguments, **settings):
    app = made(*arguments, **settings)
    app.add_api_route("/modules", lambda: sorted(sys.modules))
    app.add_api_route("/fail", lambda: fail(ZeroDivisionError("of a route")))
    app.add_api_route("/fail-in-a-thread", in_a_thread)
    app.add_api_route("/warn", lambda: warnings.warn("said by a library", UserWarning))
    return app
def fail(error):
    raise error
def in_a_thread():
    thread = threading.Thread(target=fail, args=(ValueError("of a thread"),), name="mine")
    thread.start()
    thread.join()
serving.http.app.create_app = create_app
from training.cli import main
sys.exit(main(["serve", "--model", sys.argv[1], "--port", sys.argv[2], *sys.argv[3:]]))
"""


TOKEN = "a-token-of-this-test"
HEADERS = {"content-type": "application/json", "authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def server(string_folder, tmp_path_factory, free_port):
    port, began = free_port(), time.perf_counter()
    kept = tmp_path_factory.mktemp("kept") / "new.jsonl"
    command = [sys.executable, "-c", PROGRAM, str(string_folder), str(port), "--new-items", str(kept)]
    environment = {**os.environ, "RECSYS_TOKEN": TOKEN}
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)
    try:
        answer = first_answer(process, port)
        yield process, port, answer, time.perf_counter() - began
    finally:
        process.kill()
        process.communicate()


def first_answer(process, port, limit=60):
    """Asks from the moment of the start, as a client would who cannot wait."""
    end = time.monotonic() + limit
    while True:
        try:
            return ask(port, {"user_ids": ["u001"], "k": 3}, timeout=limit)
        except (ConnectionError, urllib.error.URLError):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < end, "no answer"
            time.sleep(0.02)


def ask(port, body, path="/candidates", timeout=30):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), HEADERS)
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.load(answer)


def test_the_first_answer_comes_and_is_right(server, generator):
    _, _, answer, seconds = server
    assert answer["candidates"] == generator.recommend(["u001"], k=3).to_json()
    # five seconds are the aim on a machine that is left alone; this one runs tests
    assert seconds < 30


def test_serving_has_imported_nothing_that_only_training_needs(server):
    with urllib.request.urlopen(f"http://127.0.0.1:{server[1]}/modules", timeout=30) as answer:
        rooms = {name.partition(".")[0] for name in json.load(answer)}
    assert {"serving", "recsys", "torch", "faiss"} <= rooms
    # of `training`, the command line alone: it loads nothing heavy by itself
    assert not rooms & HEAVY


def test_a_sequential_bundle_is_loaded_without_it_as_well(string_folders):
    program = "import sys\nfrom serving.candidates import CandidateGenerator\n"
    program += "print(CandidateGenerator.load(sys.argv[1]).recommend(['u001']).sources, *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program, str(string_folders["sequential"])],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    source, *modules = done.stdout.split()
    assert source == "['user']"
    assert not {name.partition(".")[0] for name in modules} & HEAVY


def test_answers_that_follow_each_other_do_not_wait_for_acknowledgements(server):
    connection = http.client.HTTPConnection("127.0.0.1", server[1], timeout=30)
    seconds = []
    for _ in range(15):
        began = time.perf_counter()
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        seconds.append(time.perf_counter() - began)
    connection.close()
    assert min(seconds[5:]) < 0.03


def raw(port, data, shut=False, limit=30):
    """Sends bytes, and returns what comes back until the server hangs up or has answered."""
    with socket.create_connection(("127.0.0.1", port), timeout=limit) as one:
        try:
            one.sendall(data)
            if shut:
                one.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        received = b""
        while b"\r\n\r\n" not in received:
            part = one.recv(65_536)
            if not part:
                break
            received += part
        return received


HEAD = b"POST /candidates HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def test_items_that_come_are_found_and_kept_and_go_again(server):
    port, kept = server[1], Path(server[0].args[-1])
    everything = {"user_ids": ["u001"], "k": 100, "exclude_seen": False}
    assert ask(port, {"items": [{"item_id": "soap", "attributes": {"genres": "a"}}]}, "/items")["new_items"] == 1
    assert json.loads(kept.read_text()) == {"item_id": "soap", "attributes": {"genres": "a"}}
    assert "soap" in ask(port, everything)["candidates"][0]["item_ids"]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("DELETE", "/items", b'{"item_ids": ["soap"]}', HEADERS)
    assert json.load(connection.getresponse())["new_items"] == 0
    connection.close()
    assert "soap" not in ask(port, everything)["candidates"][0]["item_ids"]
    assert len(kept.read_text().splitlines()) == 2


def test_bodies_beyond_the_limit_are_answered_413(server):
    port = server[1]
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    assert b" 413 " in raw(port, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 200 + b"0\r\n\r\n")
    assert b" 413 " in raw(port, HEAD + b"Content-Length: 10000000\r\n\r\n" + b" " * 10_000_000)
    assert b" 413 " in raw(port, HEAD + b"Content-Length: 99999999999999\r\nExpect: 100-continue\r\n\r\n")
    assert ask(port, {"user_ids": ["u001"]})["candidates"]


def test_half_a_request_and_nonsense_harm_nobody_else(server):
    port = server[1]
    raw(port, HEAD + b'Content-Length: 100\r\n\r\n{"user_ids', shut=True)
    raw(port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", shut=True)
    raw(port, HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", shut=True)
    assert ask(port, {"user_ids": ["u001"]})["candidates"]
    assert server[0].poll() is None


def test_a_head_that_does_not_end_is_given_up_in_time_and_in_length(server):
    port = server[1]
    for begun in (b"", b"POST /candidates HTTP/1.1\r\nHost: x\r\nX-Slow: "):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as slow:
            slow.sendall(begun)
            assert slow.recv(100) == b""  # closed, after two seconds
    with socket.create_connection(("127.0.0.1", port), timeout=20) as long:
        try:
            for _ in range(64):
                long.sendall(b"X-More: " + b"x" * 4096 + b"\r\n" if _ else b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
                time.sleep(0.005)
            closed = long.recv(100) == b""
        except ConnectionError:
            closed = True
    assert closed
    # one that is kept alive may rest for longer than a head may take
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for wait in (0, 3):
        time.sleep(wait)
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b'{"status":"alive"}'
    connection.close()


def answers(port, *parts, n=1):
    """Sends bytes part by part, a packet each, and returns the status of the n answers that come."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            one.sendall(part)
            time.sleep(0.1)
        received, found = b"", []
        while len(found) < n and (part := one.recv(65_536)):
            received += part
            found = re.findall(rb"HTTP/1\.1 (\d+) ", received)
        return [int(status) for status in found]


def test_a_body_that_comes_with_the_end_of_its_head_is_no_head(server):
    body = json.dumps({"user_ids": ["u001"], "k": 3}).encode().ljust(150_000)
    head = HEAD + b"Content-Length: %d\r\n\r\n" % len(body)
    for cut in (1, 2, 3, 4, 20):
        assert answers(server[1], head[:-cut], head[-cut:] + body) == [200], cut
    # several in one packet, one of whose bodies ends in another
    assert answers(server[1], head + body + head + body[:10], body[10:] + head + body, n=3) == [200] * 3


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"POST /candidates HTTP/1.1\r\nContent-Type: text/plain", 422),
        (b"POST /nowhere HTTP/1.1", 404),
    ],
)
def test_a_body_that_is_still_sent_when_its_request_has_been_answered_is_no_head(server, line, status):
    parts = [b"x" * 100_000] * 10
    head = line + b"\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    after = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    assert answers(server[1], head, *parts, after, n=2) == [status, 200]


def test_a_head_that_does_not_end_is_given_up_after_other_requests_too(server):
    before = b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    with socket.create_connection(("127.0.0.1", server[1]), timeout=20) as long:
        sent = 0
        with pytest.raises(ConnectionError):
            long.sendall(before + b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-More: ")
            while sent < 4_000_000:
                sent += long.send(b"x" * 4096)
                time.sleep(0.005)
    assert sent < 1_000_000


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_and_what_it_says_is_json_but_for_the_greeting(
    string_folder, free_port, number, status, tmp_path
):
    port = free_port()
    kept = "none" if number == signal.SIGTERM else str(tmp_path / "kept.sqlite")
    command = [sys.executable, "-c", PROGRAM, str(string_folder), str(port), "--events", kept, "--drain", "0.5"]
    environment = {name: one for name, one in os.environ.items() if name != "RECSYS_TOKEN"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)
    try:
        first_answer(process, port)
        for path in ("/fail", "/fail-in-a-thread", "/warn"):
            with pytest.raises(urllib.error.HTTPError, match="500") if path == "/fail" else nullcontext():
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30).close()
        process.send_signal(number)
        greeting, log = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == status
    *where, told, sentence = greeting.splitlines()
    names = "--events FILE names another place, --events none keeps none"
    assert where == ([] if kept == "none" else [f"events (POST /events) are kept in {kept}; {names}"])
    token = re.fullmatch(r"token of this run, for requests that change something: (\S{20,})", told)[1]
    assert f"at http://127.0.0.1:{port} (documentation: http://127.0.0.1:{port}/docs)" in sentence
    assert token not in log and "documentation" not in log
    lines = [json.loads(line) for line in log.splitlines()]
    assert [one["event"] for one in lines] == [
        "loaded", "request_failed", "uncaught", "message", "signal", "draining", "drained",
    ]  # fmt: skip
    failed, uncaught, warned, ending, draining, drained = lines[1:]
    assert failed["error"].endswith("ZeroDivisionError: of a route") and failed["request_id"]
    assert uncaught["error"].endswith("ValueError: of a thread") and uncaught["thread"] == "mine"
    assert warned["logger"] == "py.warnings" and "said by a library" in warned["message"]
    assert ending["signal"] == number.name
    assert draining["taken_for_seconds"] == (0.5 if number == signal.SIGTERM else 0)  # who types Ctrl-C waits himself
    assert drained["seconds"] >= draining["taken_for_seconds"]


def test_sigterm_while_it_loads_ends_it_as_well(string_folder, free_port):
    slow = """
import serving.server, time
def loaded(*_):
    print("it loads", flush=True)
    time.sleep(60)
serving.server._loaded = loaded
"""
    command = [sys.executable, "-c", slow + PROGRAM, str(string_folder), str(free_port())]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "it loads\n"
        process.terminate()
        _, log = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0
    assert json.loads(log)["event"] == "signal"


def test_a_port_that_is_taken_is_told_in_one_line(string_folder):
    program = "import sys, serving.server\nfrom features.errors import InputError\n"
    program += "try:\n    serving.server.serve(serving.server.Served(sys.argv[1]), port=int(sys.argv[2]))\n"
    program += "except InputError as e:\n    print(e)"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-c", program, str(string_folder), str(port)],
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
    assert done.stdout == f"cannot listen at 127.0.0.1 port {port}: Address already in use\n"
