"""The simulation of a hospital group's queue, against results of queueing theory."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest

_SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmarks" / "simulate_load.py"


@pytest.fixture(scope="module")
def load():
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("simulate_load", _SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["simulate_load"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["simulate_load"]


def poisson_queue(load, servers, use, count=40_000, seed=0):
    random = np.random.default_rng(seed)
    arrivals = np.cumsum(random.exponential(1 / (servers * use), count))
    services = random.exponential(1.0, count)
    return load.simulate(arrivals, services, load.Machines(1, servers), random)


@pytest.mark.parametrize(("servers", "use"), [(1, 0.5), (2, 0.8), (8, 0.9)])
def test_mean_wait_is_that_of_erlang(load, servers, use) -> None:
    expected = load.erlang_wait(servers * use, 1.0, servers)

    waits = poisson_queue(load, servers, use).waits

    assert waits.mean() == pytest.approx(expected, rel=0.1)
    assert (waits >= 0).all()


def test_erlang_wait_of_one_server_is_the_textbook_one(load) -> None:
    assert load.erlang_wait(0.5, 1.0, 1) == pytest.approx(0.5 / (1 - 0.5))
    # Two servers: C = 2 r^2 / (1 + r) with r = load / 2; Kleinrock, section 3.5.
    assert load.erlang_wait(1.0, 1.0, 2) == pytest.approx((2 * 0.25 / 1.5) / (2 - 1))
    with pytest.raises(ValueError, match="need more than the load"):
        load.erlang_wait(3.0, 1.0, 3)


def test_a_service_of_fixed_length_waits_half_as_long(load) -> None:
    random = np.random.default_rng(1)  # Pollaczek and Khinchine: M/D/1 against M/M/1
    arrivals = np.cumsum(random.exponential(1 / 0.7, 40_000))
    found = load.simulate(arrivals, np.ones(40_000), load.Machines(1, 1), random)

    assert found.waits.mean() == pytest.approx(load.erlang_wait(0.7, 1.0, 1) / 2, rel=0.1)


def test_failures_lose_no_instance_and_cost_time(load) -> None:
    random = np.random.default_rng(2)
    arrivals = np.cumsum(random.exponential(0.5, 5_000))
    services = random.exponential(1.0, 5_000)
    whole, failing = (
        load.simulate(arrivals, services, load.Machines(3, 1, *each), np.random.default_rng(3))
        for each in ((math.inf, 0.0), (200.0, 20.0))
    )

    assert whole.repeated == 0
    assert failing.repeated > 0
    for found in (whole, failing):
        np.testing.assert_allclose(found.turnarounds - found.waits, services)
    assert failing.waits.mean() > whole.waits.mean()


def test_arrivals_have_the_rate_and_the_peaks_of_the_week(load) -> None:
    rates = load.weekly_rates()
    assert rates.mean() * 365.25 * 86400 == pytest.approx(load.PER_YEAR)

    arrivals = load.draw_arrivals(rates, 4 * 7 * 86400.0, np.random.default_rng(0))

    hours = np.bincount((arrivals // 3600).astype(int) % 168, minlength=168) / 4
    busy = rates > rates.max() / 2
    np.testing.assert_allclose(hours[busy], rates[busy] * 3600, rtol=0.1)
    assert not hours[rates == 0].any()


def test_a_seed_gives_one_outcome(load) -> None:
    def outcome(seed):
        random = np.random.default_rng(seed)
        arrivals = load.draw_arrivals(load.weekly_rates(500_000), 7 * 86400.0, random)
        services = load.draw_services(len(arrivals), random)
        return load.simulate(arrivals, services, load.Machines(2, 1, 86400.0, 3600.0), random)

    np.testing.assert_array_equal(outcome(0).turnarounds, outcome(0).turnarounds)
    assert outcome(0).turnarounds.mean() != outcome(1).turnarounds.mean()
