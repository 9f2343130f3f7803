"""The queue of a worker: whatever a file does to the worker, the next file is processed."""

from __future__ import annotations

import asyncio
import importlib
import re
from pathlib import Path

import pytest

pytest.importorskip("starlette")

from monai_dental.batch.workers.protocol import Limits
from monai_dental.errors import BundleError
from monai_dental.web.job import Task
from monai_dental.web.line import LATER, SOON, URGENT, DeedError, Line


@pytest.fixture
def faults(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("page_faults")


def run(work, job, limits):
    """Run an async function with a started line, and stop the line afterwards."""

    async def all_of_it():
        line = Line(job, limits)
        try:
            await line.start()
            return await work(line)
        finally:
            await line.stop()

    return asyncio.run(all_of_it())


def task(name):
    return Task(Path(name), Path(name))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("poison", "crashed its worker process (signal 9)"),
        ("hanging", "took longer than 3 s"),
        ("hungry", "takes more memory than the limit allows"),
        ("buggy", "unexpected ZeroDivisionError"),
    ],
)
def test_file_that_harms_its_worker_fails_alone(faults, fault, reason):
    async def work(line):
        with pytest.raises(DeedError, match=re.escape(reason)) as caught:
            await line.do(task(fault))
        assert "MARKER" not in str(caught.value)
        return (await line.do(task("next"))).info["name"]

    seconds = 3.0 if fault == "hanging" else 60.0
    assert run(work, faults.FaultyJob(), Limits(seconds, 512, 1)) == "next"


def test_urgent_tasks_pass_the_others(faults):
    async def work(line):
        order = []

        async def do(name, urgency):
            await line.do(task(name), urgency, lambda: order.append(name))

        tasks = [
            asyncio.create_task(do(name, urgency))
            for name, urgency in (("a", LATER), ("b", LATER), ("c", SOON), ("d", URGENT))
        ]
        await asyncio.sleep(0)
        line.hasten(Path("b"))
        await asyncio.gather(*tasks)
        return order

    assert run(work, faults.FaultyJob(), Limits(60.0, None, 1)) == ["b", "d", "c", "a"]


def test_job_that_cannot_be_done_fails_every_task_with_its_reason(faults):
    async def work():
        line = Line(faults.BrokenJob(), Limits(None, None, 1))
        early = asyncio.create_task(line.do(task("early")))
        await asyncio.sleep(0)
        with pytest.raises(BundleError, match="no weights here"):
            await line.start()
        for waiting in (early, line.do(task("late"))):
            with pytest.raises(DeedError, match="no weights here"):
                await waiting
        await line.stop()

    asyncio.run(work())
