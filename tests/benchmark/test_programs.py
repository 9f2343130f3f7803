import sys

import numpy as np
import pytest

from monai_dental.benchmark.programs import Program, program_of
from monai_dental.errors import WorkerError

PROGRAM = """
import json, sys
import numpy as np
for number, line in enumerate(sys.stdin):
    task = json.loads(line)
    {body}
"""
SUBTRACTS = """np.save(task["output"], np.load(task["image"]) - np.float32(task["sigma"]))
    print("done", flush=True)"""


@pytest.fixture
def program(tmp_path):
    def write(body):
        path = tmp_path / "a program.py"
        path.write_text(PROGRAM.format(body=body))
        return Program("learned", (sys.executable, str(path)))

    return write


@pytest.fixture
def image():
    return np.random.default_rng(0).random((20, 30), np.float32)


def test_program_denoises_one_image_after_the_other(program, image):
    peer = program(SUBTRACTS).peer

    for sigma in (0.05, 0.125):
        np.testing.assert_array_equal(peer.denoise(image, sigma), image - np.float32(sigma))


def test_program_is_started_once(program, image):
    own = program(
        "np.save(task['output'], np.load(task['image']) * 0 + np.float32(number)); "
        "print('done', flush=True)"
    )

    assert [own.denoise(image, 0.1).max() for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise SystemExit(3)", "learned: answered '' instead of 'done'"),
        ("print('done', flush=True)", "learned: answered 'done' instead"),
        (SUBTRACTS.replace("done", "what?"), "learned: answered 'what"),
        (
            "np.save(task['output'], np.zeros((2, 2))); print('done', flush=True)",
            r"learned: returned float64 of shape \(2, 2\); need float32 of shape \(20, 30\)",
        ),
    ],
)
def test_program_that_fails_is_named(program, image, body, said):
    with pytest.raises(WorkerError, match=said):
        program(body).denoise(image, 0.1)


def test_program_that_is_not_there_is_named(image):
    with pytest.raises(WorkerError, match="learned: no-such-program cannot be started: No such"):
        Program("learned", ("no-such-program",)).denoise(image, 0.1)


def test_command_line_names_a_program():
    assert program_of("ffdnet='/a b/python' x.py") == Program("ffdnet", ("/a b/python", "x.py"))


@pytest.mark.parametrize("text", ["ffdnet", "ffdnet=", "=python x.py", "a/b=python"])
def test_text_that_names_no_program_is_refused(text):
    with pytest.raises(
        ValueError, match="is not a program; need NAME=COMMAND, and no / in the name"
    ):
        program_of(text)
