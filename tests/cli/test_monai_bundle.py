"""How `python -m monai.bundle run` ends with a bundle."""

import subprocess
import sys
import threading
from multiprocessing.pool import ThreadPool

import pytest

from monai_dental.bundle.find import find_bundle
from monai_dental.cli import monai_bundle
from monai_dental.errors import CorruptImageError, MissingPackageError


@pytest.mark.parametrize("error", [CorruptImageError("1.jpg: empty"), KeyboardInterrupt()])
def test_threads_that_load_images_end_before_the_process(error, capsys):
    # As MONAI's CacheDataset has it: one image is broken while another is read.
    begun, goes_on, done = threading.Event(), threading.Event(), threading.Event()

    def read(image):
        begun.set()
        goes_on.wait(60)
        done.set()

    with ThreadPool(2) as pool:
        pool.imap(read, ["2.jpg"])
        begun.wait(60)
    threading.Timer(0.1, goes_on.set).start()

    monai_bundle._show_plainly(type(error), error, None)

    assert done.is_set()
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("name", ["train", "inference"])
def test_missing_opencv_ends_a_run_in_one_line(name, tmp_path):
    code = (
        "import runpy, sys; sys.modules['cv2'] = None; "
        "runpy.run_module('monai.bundle', run_name='__main__', alter_sys=True)"
    )
    config = find_bundle("blind") / "configs" / f"{name}.json"

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, "run", "--config_file", config],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(
        "error: OpenCV (cv2) is not installed in this environment"
    )


def test_missing_opencv_is_an_error_of_ours_in_another_program(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)

    with pytest.raises(MissingPackageError, match="OpenCV .* pip install"):
        monai_bundle._require_opencv()
