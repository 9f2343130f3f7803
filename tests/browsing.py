"""Headless Chromium, controlled by WebDriver (W3C) over HTTP and JSON, without a package."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

WINDOW = "--window-size=1400,1000"
AXE = Path(__file__).parent / "axe" / "axe.min.js"
FAULTS = """
const done = arguments[0];
axe.run().then(({ violations }) => done(violations
  .filter(({ impact }) => ["serious", "critical"].includes(impact))
  .flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`))));
"""


class Browser:
    """One session of a browser; see https://www.w3.org/TR/webdriver2/."""

    def __init__(self, port: int, arguments: list[str]) -> None:
        self._url = f"http://127.0.0.1:{port}"
        options = {
            "browserName": "chrome",
            # A model is loaded meanwhile, on a busy machine.
            "timeouts": {"script": 280_000, "pageLoad": 280_000},
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        answer = self._call("POST", "/session", {"capabilities": {"alwaysMatch": options}})
        self._url += f"/session/{answer['sessionId']}"

    def open(self, page: Path) -> None:
        self.visit(page.resolve().as_uri())

    def visit(self, address: str) -> None:
        self._call("POST", "/url", {"url": address})

    def resize(self, width: int, height: int, *, ratio: float = 1, is_touch: bool = False) -> None:
        """Give pages a window of exactly this size, like a device of that kind."""
        device = {"width": width, "height": height, "deviceScaleFactor": ratio, "mobile": is_touch}
        self.develop("Emulation.setDeviceMetricsOverride", **device)
        self.develop("Emulation.setTouchEmulationEnabled", enabled=is_touch, maxTouchPoints=5)

    def develop(self, command: str, **parameters: Any) -> Any:
        """Send a command of the Chrome DevTools protocol."""
        body = {"cmd": command, "params": parameters}
        return self._call("POST", "/goog/cdp/execute", body)

    def run(self, script: str, *arguments: Any) -> Any:
        return self._call("POST", "/execute/sync", {"script": script, "args": arguments})

    def wait_for(self, script: str) -> Any:
        """Return the first true value of an expression, which the page itself waits for."""
        poll = (
            "const done = arguments[0]; const ask = () => { const value = "
            f"({script}); value ? done(value) : setTimeout(ask, 50); }}; ask();"
        )
        return self._call("POST", "/execute/async", {"script": poll, "args": []})

    def press(self, selector: str, *keys: str) -> None:
        element = self._find(selector)
        self._call("POST", f"/element/{element}/value", {"text": "".join(keys)})

    def click(self, selector: str) -> None:
        self._call("POST", f"/element/{self._find(selector)}/click", {})

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        moves = [
            {"type": "pointerMove", "duration": 0, "x": round(start[0]), "y": round(start[1])},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerMove", "duration": 50, "x": round(end[0]), "y": round(end[1])},
            {"type": "pointerUp", "button": 0},
        ]
        self._call(
            "POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": moves}]}
        )

    def hover(self, at: tuple[float, float]) -> None:
        move = {"type": "pointerMove", "duration": 0, "x": round(at[0]), "y": round(at[1])}
        self._call(
            "POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": [move]}]}
        )

    def touch(self, starts: list[tuple[float, float]], ends: list[tuple[float, float]]) -> None:
        """Put fingers down, move them in steps, and lift them."""
        for share in (0, 0.25, 0.5, 0.75, 1):
            points = [
                {"x": a[0] + share * (b[0] - a[0]), "y": a[1] + share * (b[1] - a[1]), "id": number}
                for number, (a, b) in enumerate(zip(starts, ends, strict=True))
            ]
            kind = "touchMove" if share else "touchStart"
            self.develop("Input.dispatchTouchEvent", type=kind, touchPoints=points)
        self.develop("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def wait_until(self, holds: Callable[[], object]) -> None:
        """Poll until a condition outside the page holds, such as a finished download."""
        for _ in range(2400):
            if holds():
                return
            time.sleep(0.25)
        raise AssertionError("it never came")

    def wheel(self, at: tuple[float, float], delta: int) -> None:
        scroll = {"type": "scroll", "x": round(at[0]), "y": round(at[1])}
        scroll |= {"deltaX": 0, "deltaY": delta}
        self._call(
            "POST", "/actions", {"actions": [{"type": "wheel", "id": "wheel", "actions": [scroll]}]}
        )

    def windows(self) -> list[str]:
        """Return the tabs, this one first."""
        own = self._call("GET", "/window")
        return sorted(self._call("GET", "/window/handles"), key=lambda each: each != own)

    def go_to(self, window: str) -> None:
        self._call("POST", "/window", {"handle": window})

    def go_to_opened(self) -> str:
        """Go to the tab that the page has opened, and return the page's own tab.

        The new tab begins blank, and a script that runs while it leaves for its address fails.
        """
        self.wait_until(lambda: len(self.windows()) == 2)
        own, opened = self.windows()
        self.go_to(opened)
        self.wait_until(lambda: self._call("GET", "/url").startswith("http"))
        return own

    def close_window(self) -> None:
        self._call("DELETE", "/window")

    def errors(self) -> list[str]:
        """Return the console messages since the last call, including policy violations."""
        return [line["message"] for line in self._call("POST", "/se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """Return every URL requested since the last call."""
        lines = self._call("POST", "/se/log", {"type": "performance"})
        events = [json.loads(line["message"])["message"] for line in lines]
        sent = [event for event in events if event["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def faults(self) -> list[str]:
        """Return axe-core's serious and critical violations: the rule and the element of each."""
        self.run(AXE.read_text(encoding="utf-8"))
        return self._call("POST", "/execute/async", {"script": FAULTS, "args": []})

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._call("GET", "/screenshot")))

    def close(self) -> None:
        self._call("DELETE", "")

    def _find(self, selector: str) -> str:
        found = self._call("POST", "/element", {"using": "css selector", "value": selector})
        return next(iter(found.values()))

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._url + path, data, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=300) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            told = json.load(error)["value"]["message"].splitlines()[0]
            raise AssertionError(f"{path} {body}: {told}") from error


@contextlib.contextmanager
def open_browser(chromium: str, chromedriver: str, profile: Path) -> Iterator[Browser]:
    """Start a driver on a free port and a browser; both end with the context."""
    arguments = ["--headless=new", WINDOW, "--disable-gpu", f"--user-data-dir={profile}"]
    arguments += ["--disable-dev-shm-usage", "--hide-scrollbars", "about:blank"]
    arguments.insert(0, "--force-prefers-reduced-motion")  # what moves takes a core
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")  # Chromium has no sandbox for root
    command = [chromedriver, "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        try:
            lines = iter(driver.stdout.readline, "")
            port = next(int(m[1]) for m in map(re.compile(r"port (\d+)\.").search, lines) if m)
            browser = Browser(port, arguments)
            try:
                yield browser
            finally:
                browser.close()
        finally:
            driver.terminate()


@pytest.fixture(scope="session")
def browser(
    tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str], NoReturn]
) -> Iterator[Browser]:
    """Headless Chromium; if it is missing, the test is skipped, or fails if it is required."""
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        missing("no chromium and chromedriver; apt-get install chromium chromium-driver")
    profile = tmp_path_factory.mktemp("chromium")
    with open_browser(chromium, chromedriver, profile) as opened:
        yield opened
