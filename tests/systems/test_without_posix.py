"""What Windows and macOS support runs without modules and names that only POSIX systems have."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from waiting import wait_until

from monai_dental.errors import OutputError, UnsupportedSystemError
from monai_dental.files.lock import hold_lock

HERE = Path(__file__).parent / "without_posix"


@pytest.fixture
def reduced(tmp_path):
    """An environment without POSIX features for monai_dental; see sitecustomize.py."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    return {**os.environ, "PYTHONPATH": str(HERE), "TMPDIR": str(temporary)}


def test_commands_run_and_those_that_need_posix_say_so_in_a_line(tmp_path, reduced):
    command = [sys.executable, "-W", "ignore", str(HERE / "run_commands.py"), str(tmp_path)]

    done = subprocess.run(command, env=reduced, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "phantom": 0, "denoise": 0, "report": 0, "adapt": 0, "batch": 2, "node": 2,
        "orthanc": 2, "mercure": 2,
    }  # fmt: skip
    assert (tmp_path / "models" / "model.pt").is_file()
    assert (tmp_path / "eval" / "scores.csv").is_file()
    for name in ("batch", "node", "orthanc", "mercure"):
        assert f"error: {name}: does not run on this system; need Linux or macOS\n" in done.stderr


def test_speed_is_measured(reduced):
    code = (
        "import pathlib\n"
        "def missing(*_, **__): raise FileNotFoundError\n"
        "pathlib.Path.read_text = missing\n"  # no /proc
        "from monai_dental.benchmark import speed\n"
        "print(speed._peak_mb())"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]

    done = subprocess.run(command, env=reduced, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr[-3000:]
    assert 50 < float(done.stdout) < 10_000


def test_page_is_served_and_denoises(tmp_path, reduced, radiograph_file, picture):
    content = radiograph_file(picture(8, rows=48, columns=40), ".png").read_bytes()
    command = [sys.executable, "-m", "monai_dental", "serve", "--no-browser"]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=reduced) as process:
        try:
            url = re.search(r"http://\S+/", process.stdout.readline())[0]
            with opener.open(f"{url}api/images?name=a.png", content, 300) as answer:
                key = json.load(answer)["key"]
            opener.open(f"{url}api/images/{key}/denoise", b"", 300).close()
            with opener.open(f"{url}api/images/{key}/result", None, 300) as answer:
                assert answer.read().startswith(b"\x89PNG")
        finally:
            process.terminate()
            process.wait(120)
    wait_until(lambda: not list((tmp_path / "tmp").glob("monai-dental-serve-*")))


def test_lock_of_a_system_without_fcntl_is_exclusive(tmp_path, monkeypatch):
    monkeypatch.setattr("monai_dental.files.lock.fcntl", None)
    path = tmp_path / "lock"

    with hold_lock(path), pytest.raises(OutputError, match="another run is writing here"):
        hold_lock(path).__enter__()
    with hold_lock(path):
        pass
    with pytest.raises(UnsupportedSystemError, match="lock: Windows cannot share this lock"):
        hold_lock(path, is_shared=True).__enter__()
