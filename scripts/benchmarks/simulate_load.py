"""Simulate the denoising queue of a hospital group: how long instances wait for their results.

    .venv/bin/python scripts/benchmarks/simulate_load.py [--weeks 4] [--seed 0]

Instances arrive at random (a Poisson process) at a rate that depends on the hour of the week. The
time for each depends on its number of pixels. Machines fail and are repaired, and the instances in
progress on them restart on another machine. There is one queue, first come, first served, as with
Ray but not with one `--shard` per machine. Prints the table of docs/scale.md. The assumptions are
listed at the top of this file; the measured values name their source.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Measured: scripts/benchmarks/batch.py --bundle blind, two workers on two cores, end to end: 60
# images of 717 x 1471 and 60 of 512 x 512 pixels, 79 megapixels, in 36.98 s.
MEGAPIXELS_PER_S = 60 * (717 * 1471 + 512 * 512) / 1e6 / 36.98 / 2
# Assumed; replace each by your own:
PER_YEAR = 10_000_000
KINDS = {"intraoral": (0.85, 1.5), "panoramic": (0.15, 3.5)}  # share, megapixels
SPREAD = 0.2  # standard deviation over mean of the time for one size
CORES = 4  # per machine, each with one worker
FAILURES_S, REPAIR_S = 7 * 86400.0, 4 * 3600.0  # mean time between failures, and of a repair
DAYS = (1.0, 1.0, 1.0, 1.0, 0.9, 0.25, 0.02)  # from Monday, relative
HOURS = (
    0, 0, 0, 0, 0, 0, 0.02, 0.3, 0.9, 1.3, 1.4, 1.2, 0.7, 0.8, 1.2, 1.2, 1.0, 0.7, 0.3, 0.1, 0.02,
    0, 0, 0,
)  # fmt: skip

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Machines:
    """The machines that serve the queue.

    Attributes:
        count: Number of machines.
        workers: Number of workers of each machine.
        failures_s: Mean time from a repair to the next failure, in seconds; infinite for never.
        repair_s: Mean time of a repair, in seconds.
    """

    count: int
    workers: int
    failures_s: float = math.inf
    repair_s: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """The result of a simulation.

    Attributes:
        waits: Time from each arrival to the start of the work that completed it, in seconds.
        turnarounds: Time from each arrival to its completion, in seconds.
        longest: Largest number of instances that waited at once.
        repeated: Number of times that work on an instance was lost with its machine.
    """

    waits: Array
    turnarounds: Array
    longest: int
    repeated: int


def weekly_rates(per_year: float = PER_YEAR) -> Array:
    """Return the arrivals per second for each hour of the week, (168,)."""
    shape = np.outer(DAYS, HOURS).ravel()
    rates: Array = shape / shape.mean() * per_year / (365.25 * 86400)
    return rates


def draw_arrivals(rates: Array, seconds: float, random: np.random.Generator) -> Array:
    """Return sorted times of arrivals, in seconds from Monday 0 h: a Poisson process by thinning.

    Args:
        rates: Arrivals per second for each hour, repeated as needed.
        seconds: Length of the period.
        random: Source of randomness.

    References:
        Lewis and Shedler, Naval Research Logistics Quarterly 26(3), 1979.
    """
    most = float(rates.max())
    times = np.sort(random.uniform(0, seconds, random.poisson(most * seconds)))
    hours = (times // 3600).astype(int) % len(rates)
    kept: Array = times[random.uniform(0, most, len(times)) < rates[hours]]
    return kept


def draw_services(count: int, random: np.random.Generator) -> Array:
    """Return the time that each instance occupies a worker, in seconds."""
    shares, sizes = (np.array(values) for values in zip(*KINDS.values(), strict=True))
    means = random.choice(sizes, count, p=shares) / MEGAPIXELS_PER_S
    return means * random.gamma(1 / SPREAD**2, SPREAD**2, count)


def simulate(
    arrivals: Array, services: Array, machines: Machines, random: np.random.Generator
) -> Outcome:
    """Simulate machines that work through a queue, first come, first served.

    Args:
        arrivals: Sorted times of arrivals, in seconds.
        services: Time that each instance occupies a worker, in seconds.
        machines: The machines.
        random: Source of the failures.
    """
    events: list[tuple[float, int, str, int, int]] = []  # time, order, kind, machine, instance
    order = itertools.count()

    def plan(time: float, kind: str, machine: int, instance: int = -1) -> None:
        heapq.heappush(events, (time, next(order), kind, machine, instance))

    idle = {machine: machines.workers for machine in range(machines.count)}
    at_work: dict[int, tuple[int, int]] = {}  # by instance: machine and its number of repairs
    repairs = dict.fromkeys(idle, 0)
    down: set[int] = set()
    queue: deque[int] = deque()
    begun, ended = np.zeros(len(arrivals)), np.zeros(len(arrivals))
    longest = repeated = done = upcoming = 0
    if math.isfinite(machines.failures_s):
        for machine in idle:
            plan(random.exponential(machines.failures_s), "failure", machine)
    while done < len(arrivals):
        if upcoming < len(arrivals) and (not events or arrivals[upcoming] <= events[0][0]):
            now = float(arrivals[upcoming])
            queue.append(upcoming)
            upcoming += 1
        else:
            now, _, kind, machine, instance = heapq.heappop(events)
            if kind == "failure":
                down.add(machine)
                lost = [each for each, (on, _) in at_work.items() if on == machine]
                queue.extendleft(sorted(lost, reverse=True))
                repeated += len(lost)
                for each in lost:
                    del at_work[each]
                idle[machine] = 0
                plan(now + random.exponential(machines.repair_s), "repair", machine)
            elif kind == "repair":
                down.discard(machine)
                repairs[machine] += 1
                idle[machine] = machines.workers
                plan(now + random.exponential(machines.failures_s), "failure", machine)
            elif at_work.get(instance) == (machine, repairs[machine]):
                del at_work[instance]
                idle[machine] += 1
                ended[instance] = now
                done += 1
        while queue and (machine := max(idle, key=lambda each: idle[each])) not in down:
            if not idle[machine]:
                break
            instance = queue.popleft()
            idle[machine] -= 1
            at_work[instance] = machine, repairs[machine]
            begun[instance] = now
            plan(now + float(services[instance]), "end", machine, instance)
        longest = max(longest, len(queue))
    return Outcome(begun - arrivals, ended - arrivals, longest, repeated)


def erlang_wait(rate: float, service_s: float, servers: int) -> float:
    """Return the mean waiting time of an M/M/c queue, in seconds.

    Args:
        rate: Arrivals per second.
        service_s: Mean service time, in seconds.
        servers: Number of servers.

    Raises:
        ValueError: There are too few servers, so the queue grows without limit.

    References:
        Erlang, 1917; Kleinrock, Queueing Systems I, 1975, section 3.5.
    """
    load = rate * service_s
    if load >= servers:
        raise ValueError(f"{servers} servers for a load of {load:g}; need more than the load")
    blocked = 1.0  # Erlang B by its recursion, then C from B
    for count in range(1, servers + 1):
        blocked = load * blocked / (count + load * blocked)
    waiting = blocked / (1 - load / servers * (1 - blocked))
    return waiting * service_s / (servers - load)


def rows(weeks: int, seed: int) -> Iterator[tuple[str, ...]]:
    """Yield the lines of the table, the heading first."""
    yield (
        "machines", "failures", "busy", "mean wait", "95 % within", "99.9 % within", "longest wait",
        "longest queue", "begun anew",
    )  # fmt: skip
    random = np.random.default_rng(seed)
    arrivals = draw_arrivals(weekly_rates(), weeks * 7 * 86400.0, random)
    services = draw_services(len(arrivals), random)
    for count, fails in itertools.product((1, 2, 3, 4), (False, True)):
        failing = (FAILURES_S, REPAIR_S) if fails else (math.inf, 0.0)
        machines = Machines(count, CORES, *failing)
        found = simulate(arrivals, services, machines, np.random.default_rng(seed + 1))
        busy = services.sum() / (weeks * 7 * 86400.0 * count * CORES)
        quantiles = np.quantile(found.turnarounds, (0.95, 0.999))
        yield (
            f"{count} x {CORES} cores", "yes" if fails else "no", f"{busy:.0%}",
            *map(duration, (found.waits.mean(), *quantiles, found.waits.max())),
            str(found.longest), str(found.repeated),
        )  # fmt: skip


def duration(seconds: float) -> str:
    """Return a human-readable time."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Simulate the queue of a hospital group.")
    parser.add_argument("--weeks", type=int, default=4, help="weeks to simulate (default: 4)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all randomness (default: 0)")
    arguments = parser.parse_args()
    rates = weekly_rates()
    service = sum(share * size for share, size in KINDS.values()) / MEGAPIXELS_PER_S
    print(
        f"{PER_YEAR} instances a year: mean {rates.mean():.2f}/s, busiest hour {rates.max():.2f}/s"
    )
    print(f"{MEGAPIXELS_PER_S:.3f} megapixels/s a core: mean {service:.2f} s an instance")
    print(
        f"cores at work: mean {rates.mean() * service:.2f}, "
        f"busiest hour {rates.max() * service:.2f}\n"
    )
    for number, row in enumerate(rows(arguments.weeks, arguments.seed)):
        print(f"| {' | '.join(row)} |")
        if not number:
            print("|---" * len(row) + "|")


if __name__ == "__main__":
    main()
