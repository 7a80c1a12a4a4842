"""A browser to look at pages with: headless Chromium, driven over the protocol WebDriver, which is HTTP and JSON."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from serving.http.listening import listen

FLAGS = (
    "headless",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "disable-dev-shm-usage",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "window-size=1200,900",
)
#: what an element's address is called, says the standard
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"Enter": "\ue007", "Down": "\ue015", "Right": "\ue014", "Escape": "\ue00c", "Tab": "\ue004"}
_PATIENCE = 30.0


class Browser:
    """One window.

    Args:
        driver: Where chromedriver listens.
        profile: An empty folder.
    """

    keys = KEYS

    def __init__(self, driver: str, profile: Path) -> None:
        self._http = httpx.Client(base_url=driver, timeout=60, trust_env=False)
        arguments = [*(f"--{one}" for one in FLAGS), f"--user-data-dir={profile}"]
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments, "binary": shutil.which("chromium")},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        told = self._http.post("/session", json={"capabilities": {"alwaysMatch": wanted}}).json()["value"]
        assert "sessionId" in told, told
        self._session = f"/session/{told['sessionId']}"
        self._do("url", url="about:blank")
        self.asked()  # the page that a new window begins with is the browser's own

    def _do(self, path: str, **body: Any) -> Any:
        told = self._http.post(f"{self._session}/{path}", json=body)
        assert told.status_code == 200, told.json()["value"]["message"]
        return told.json()["value"]

    def open(self, url: str) -> None:
        """Goes to a page, also where only what is behind # is another."""
        self._do("url", url="about:blank")
        self._do("url", url=url)

    def run(self, script: str, *arguments: Any) -> Any:
        """What a function's body returns in the page."""
        return self._do("execute/sync", script=script, args=list(arguments))

    def type(self, selector: str, keys: str) -> None:
        """Keys into an element, as somebody would press them."""
        self._do(f"element/{self._found(selector)}/value", text=keys)

    def click(self, selector: str) -> None:
        """Clicks into the middle of an element, which has to be in sight."""
        self._do(f"element/{self._found(selector)}/click")

    def _found(self, selector: str) -> str:
        return self._do("element", using="css selector", value=selector)[_ELEMENT]

    def texts(self, selector: str) -> list[str]:
        """What can be read in each element, hidden ones left out."""
        script = (
            "return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility()).map(e => e.innerText)"
        )
        return self.run(script, selector)

    def until(self, told: Callable[[], Any]) -> Any:
        """Waits for something to be so, and returns it."""
        end = time.monotonic() + _PATIENCE
        while not (found := told()):
            assert time.monotonic() < end, (self.texts("body"), self.console())
            time.sleep(0.02)
        return found

    def shows(self, width: int, dark: bool = False) -> None:
        """The window as that of a device so wide, and of somebody who wants it dark."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self._do("goog/cdp/execute", cmd="Emulation.setDeviceMetricsOverride", params=size)
        media = {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]}
        self._do("goog/cdp/execute", cmd="Emulation.setEmulatedMedia", params=media)

    def picture(self, path: Path) -> None:
        """The whole page as a PNG."""
        told = {"format": "png", "captureBeyondViewport": True}
        found = self._do("goog/cdp/execute", cmd="Page.captureScreenshot", params=told)
        path.write_bytes(base64.b64decode(found["data"]))

    def console(self) -> list[str]:
        """What the browser has complained of since it was last asked."""
        return [one["message"] for one in self._do("se/log", type="browser") if one["level"] in ("WARNING", "SEVERE")]

    def asked(self) -> list[str]:
        """The addresses that pages have asked since it was last asked."""
        lines = [json.loads(one["message"])["message"] for one in self._do("se/log", type="performance")]
        return [one["params"]["request"]["url"] for one in lines if one["method"] == "Network.requestWillBeSent"]

    def close(self) -> None:
        """Ends it."""
        self._http.delete(self._session)
        self._http.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A window of headless Chromium."""
    if not (shutil.which("chromedriver") and shutil.which("chromium")):
        pytest.skip("no Chromium here: apt-get install chromium chromium-driver")
    driver = subprocess.Popen(
        ["chromedriver", "--port=0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        line = next(one for one in driver.stdout if "successfully on port" in one)
        window = Browser(f"http://127.0.0.1:{line.split()[-1].rstrip('.')}", tmp_path_factory.mktemp("profile"))
        yield window
        window.close()
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
        driver.stdout.close()


@contextmanager
def _served(app: Any) -> Iterator[str]:
    with listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def served() -> Callable[[Any], Any]:
    """Answers at a port of its own: `with served(app) as address`."""
    return _served
