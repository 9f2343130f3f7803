import multiprocessing
import os
import signal
import time

import pytest

from monai_dental.process.pool import process_pool


def test_results_come_back():
    with process_pool(2, time.sleep, 0) as pool:
        assert list(pool.map(abs, [-1, -2, -3])) == [1, 2, 3]
    assert multiprocessing.active_children() == []


def test_interrupt_ends_what_runs_and_what_waits():
    futures = []

    def work():
        with process_pool(1) as pool:
            assert pool.submit(abs, -1).result() == 1
            futures.extend(pool.submit(time.sleep, 60) for _ in range(3))
            while not futures[0].running():
                time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert all(future.cancelled() or future.exception() for future in futures)
    assert multiprocessing.active_children() == []


def test_processes_of_others_go_on():
    with process_pool(1) as other:
        assert other.submit(abs, -1).result() == 1
        with pytest.raises(TypeError), process_pool(1) as pool:
            pool.submit(abs, "text").result()
        assert other.submit(abs, -2).result() == 2


def test_workers_leave_an_interrupt_to_their_caller():
    with process_pool(1) as pool:
        os.kill(pool.submit(os.getpid).result(), signal.SIGINT)
        assert pool.submit(abs, -1).result() == 1
