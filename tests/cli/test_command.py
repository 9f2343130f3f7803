"""The command `monai-dental` as a process."""

from __future__ import annotations

import subprocess
import sys

import monai_dental


def test_help_answers_without_torch():
    code = "import sys, monai_dental.cli as cli\ntry: cli.main(['--help'])\n" + (
        "finally: assert not {'torch', 'monai', 'cv2', 'pydicom'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "denoise files and folders" in done.stdout


def test_module_is_the_command():
    command = [sys.executable, "-m", "monai_dental", "--version"]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == monai_dental.__version__


def test_reader_that_goes_away_ends_the_command_quietly(tmp_path):
    code = "import sys, monai_dental.cli as cli; sys.exit(cli.main(sys.argv[1:]))"
    with subprocess.Popen(
        [sys.executable, "-c", code, "phantom", "--count", "1", "--output", tmp_path / "p"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        process.stdout.close()
        errors = process.stderr.read()

    assert process.returncode == 1
    assert "Traceback" not in errors


def test_missing_opencv_is_told_in_a_line(tmp_path):
    code = (
        "import sys; sys.modules['cv2'] = None; import monai_dental.cli as cli; "
        "sys.exit(cli.main(sys.argv[1:]))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, "phantom", "--count", "1", "--output", tmp_path / "p"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "error: OpenCV (cv2) is not installed in this environment; run pip install "
    )
