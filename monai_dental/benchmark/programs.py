"""Denoisers that run in their own environment because their packages conflict with this one."""

from __future__ import annotations

import atexit
import json
import shlex
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from monai_dental.benchmark.peers import Peer
from monai_dental.errors import WorkerError

Image = NDArray[np.float32]

_GRID = (0.01, 0.02, 0.04, 0.08, 0.16)


@dataclass(frozen=True)
class Program:
    """A program that denoises `.npy` files in turn until its standard input ends.

    For each file it reads a line of JSON, `{"image": PATH, "sigma": NUMBER, "output": PATH}`,
    writes the result and answers with the line `done`. Images are float32 (H, W), nominally in [0,
    1]; sigma is the standard deviation of their noise.

    Attributes:
        name: Name of the method in the scores.
        command: The command to run.
    """

    name: str
    command: tuple[str, ...]

    @property
    def peer(self) -> Peer:
        """The program as a filter of the benchmark."""
        parameter = "sigma of the white noise to remove, in units of the [0, 1] image"
        return Peer(self.name, self.denoise, parameter, _GRID)

    def denoise(self, image: Image, sigma: float) -> Image:
        """Denoise an image with the program.

        Raises:
            WorkerError: The program cannot be started or has ended, or its result is not valid.
        """
        process = _started(self.name, self.command)
        with tempfile.TemporaryDirectory() as folder:
            source, target = (Path(folder) / f"{name}.npy" for name in ("image", "output"))
            np.save(source, image)
            task = {"image": str(source), "sigma": sigma, "output": str(target)}
            answer = _ask(process, json.dumps(task))
            if answer != "done" or not target.is_file():
                raise WorkerError(
                    f"{self.name}: answered {answer!r} instead of 'done'; see what it wrote to "
                    "standard error"
                )
            denoised = np.load(target, allow_pickle=False)
        if denoised.shape != image.shape or denoised.dtype != np.float32:
            raise WorkerError(
                f"{self.name}: returned {denoised.dtype} of shape {denoised.shape}; need float32 "
                f"of shape {image.shape}"
            )
        return np.ascontiguousarray(denoised)


def program_of(text: str) -> Program:
    """Return the program that the command line names as `NAME=COMMAND`.

    Raises:
        ValueError: The text does not have that form, or the name contains a slash.
    """
    name, _, command = text.partition("=")
    parts = tuple(shlex.split(command))
    if not name or not parts or "/" in name:
        raise ValueError(f"{text!r} is not a program; need NAME=COMMAND, and no / in the name")
    return Program(name, parts)


def _ask(process: subprocess.Popen[str], line: str) -> str:
    if process.stdin is None or process.stdout is None:
        raise ValueError("the process has no pipes")
    try:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    except OSError:  # it has ended, and so has its output
        return ""
    return process.stdout.readline().strip()


@cache
def _started(name: str, command: tuple[str, ...]) -> subprocess.Popen[str]:
    """Return the running program; each process of the benchmark starts its own."""
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
    except OSError as error:
        raise WorkerError(f"{name}: {command[0]} cannot be started: {error.strerror}") from error
    atexit.register(process.kill)
    return process
