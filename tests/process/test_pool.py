import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from monai_dental.process.pool import process_pool


def test_results_come_back_in_order():
    with process_pool(2, time.sleep, 0) as pool:
        assert list(pool.map(abs, [-1, -2, -3]).result()) == [1, 2, 3]
    assert multiprocessing.active_children() == []


def test_interrupt_ends_what_runs_and_what_waits():
    def work():
        with process_pool(1) as pool:
            assert pool.schedule(abs, [-1]).result() == 1
            for _ in range(3):
                pool.schedule(time.sleep, [60])
            raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        work()
    assert time.monotonic() - begun < 60
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("begun", ["before", "meanwhile"])
def test_processes_of_others_go_on(begun):
    context = multiprocessing.get_context("spawn")
    end = context.Event()
    other = context.Process(target=end.wait)

    def work():
        with process_pool(1) as pool:
            if begun == "meanwhile":  # by another thread of the program, for instance
                thread = threading.Thread(target=other.start)
                thread.start()
                thread.join()
            pool.schedule(abs, ["text"]).result()

    if begun == "before":
        other.start()
    with pytest.raises(TypeError):
        work()
    end.set()
    other.join()
    assert other.exitcode == 0


def test_workers_leave_an_interrupt_to_their_caller():
    with process_pool(1) as pool:
        os.kill(pool.schedule(os.getpid).result(), signal.SIGINT)
        assert pool.schedule(abs, [-1]).result() == 1


_OUTLIVES = """
import os, signal, time
from multiprocessing import get_context
from monai_dental.process.pool import end_with_parent

def late(parent):
    while os.getppid() == parent:
        time.sleep(0.01)
    end_with_parent()
    signal.pause()

get_context("fork").Process(target=late, args=(os.getpid(),)).start()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_process_whose_parent_ended_before_it_asked_ends_too():
    process = subprocess.Popen(
        [sys.executable, "-c", _OUTLIVES], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        process.communicate(timeout=60)  # until nobody holds its stdout open any more
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
