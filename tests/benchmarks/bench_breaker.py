"""What a closed circuit costs, beside an exact ring window with one lock a call, in one run.

The ring is the least that an exact breaker can do in Python: two clock readings, one lock, a window with running sums. All
contenders wrap the same trivial function; rounds are interleaved in random order, and ratios are taken within a round, so
that noise hits all alike. Promise: a protected call costs at most 1.5 times the ring's.

    python tests/benchmarks/bench_breaker.py [--rounds 25] [--calls 20000] [--json]
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import random
import statistics
import threading
import time

from attune.models import process
from attune.models.circuit_breaker import CircuitBreaker
from attune.models.circuits import Circuits

PROVIDER, MODEL, ENDPOINT = "anthropic", "claude-haiku-4-5", "https://api.anthropic.com"


class Ring:
    """The yardstick."""

    __slots__ = ("bad", "closed", "era", "failures", "filled", "lock", "place", "slow", "threshold", "window")

    def __init__(self, size=100, threshold=5):
        self.closed, self.era, self.threshold, self.failures = True, 0, threshold, 0
        self.window, self.place, self.filled, self.bad, self.slow = bytearray(size), 0, 0, 0, 0
        self.lock = threading.Lock()

    def record(self, era, bits):
        with self.lock:
            if era != self.era:
                return
            window, place = self.window, self.place
            old = window[place]
            window[place] = bits
            self.place = place + 1 if place + 1 < len(window) else 0
            if self.filled < len(window):
                self.filled += 1
            self.bad += (bits & 1) - (old & 1)
            self.slow += (bits >> 1) - (old >> 1)
            if bits & 1:
                self.failures += 1
                if self.failures >= self.threshold:
                    self.closed, self.era = False, era + 1
            elif self.failures:
                self.failures = 0

    def protect(self, function):
        monotonic = time.monotonic

        @functools.wraps(function)
        def call(*args, **kwargs):
            if not self.closed:
                raise RuntimeError("open")
            era, began = self.era, monotonic()
            try:
                result = function(*args, **kwargs)
            except Exception:
                self.record(era, 1)
                raise
            self.record(era, 2 if monotonic() - began > 30 else 0)
            return result

        return call


class Clock:
    """The process's clock, as thin as it can be."""

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)


class Live:
    """The live parts of a process, as far as a breaker needs them."""

    def __init__(self):
        self.circuits, self.clock = Circuits(), Clock()


def contenders():
    """Name -> a function of one argument."""

    def work(number):
        return number

    live = Live()
    process.provide(lambda: live)
    core, own, shared = Circuits(), CircuitBreaker(clock=Clock()), CircuitBreaker()

    def by_core(number):
        permit = core.acquire(PROVIDER, MODEL, endpoint=ENDPOINT, now=time.monotonic())
        result = work(number)
        permit.settle("success", now=time.monotonic())
        return result

    def by_permit(number):
        permit = own.acquire(PROVIDER)
        result = work(number)
        permit.settle("success")
        return result

    def by_guard(number):
        with own.guard(PROVIDER):
            return work(number)

    def by_two_calls(number):
        own.is_available(PROVIDER)
        result = work(number)
        own.record_success(PROVIDER)
        return result

    return {
        "bare call": work,
        "ring": Ring().protect(work),
        "core: acquire and settle": by_core,
        "protect": own.protect(PROVIDER)(work),
        "protect, a model": own.protect(PROVIDER, MODEL)(work),
        "protect, the process's circuits": shared.protect(PROVIDER)(work),
        "acquire and settle": by_permit,
        "guard": by_guard,
        "is_available and record_success": by_two_calls,
    }


def nanoseconds(function, calls):
    """Time of one call."""
    numbers = range(calls)
    began = time.perf_counter_ns()
    for number in numbers:
        function(number)
    return (time.perf_counter_ns() - began) / calls


def measure(rounds, calls):
    """Name -> median ns a call, and median ratio to the ring of the same round."""
    functions, rows = contenders(), []
    gc.disable()
    for _ in range(rounds):
        names = random.sample(list(functions), len(functions))
        rows.append({name: nanoseconds(functions[name], calls) for name in names})
    gc.enable()
    return {
        name: {
            "ns": round(statistics.median(row[name] for row in rows)),
            "ratio": round(statistics.median(row[name] / row["ring"] for row in rows), 2),
        }
        for name in functions
    }


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = measure(options.rounds, options.calls)
    if options.json:
        print(json.dumps(results))
        return
    for name, result in results.items():
        print(f"{name:34} {result['ns']:7} ns  {result['ratio']:5.2f} x ring")


if __name__ == "__main__":
    main()
