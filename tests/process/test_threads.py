"""How many threads compute."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from monai_dental.process.threads import one_thread


@pytest.fixture
def two_threads():
    """Let torch compute with two threads, whatever the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_those_that_keep_to_one_thread_at_once_leave_as_many_as_there_were(two_threads):
    first, second = one_thread(), one_thread()
    with ThreadPoolExecutor(1) as a, ThreadPoolExecutor(1) as b, ThreadPoolExecutor(1) as later:
        a.submit(first.__enter__).result()
        b.submit(second.__enter__).result()
        assert b.submit(torch.get_num_threads).result() == 1
        a.submit(first.__exit__, None, None, None).result()
        b.submit(second.__exit__, None, None, None).result()

        assert later.submit(torch.get_num_threads).result() == 2
