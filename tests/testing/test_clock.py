"""A clock that moves only when it is told to."""

from __future__ import annotations

import asyncio
import threading

import pytest
import trio

from attune.errors import ConfigError
from attune.testing import FakeClock


def test_time_stands_still_until_it_is_moved():
    clock = FakeClock()
    assert (clock.monotonic(), clock.time()) == (0.0, 1_800_000_000.0)
    clock.advance(60)
    assert (clock.monotonic(), clock.time()) == (60.0, 1_800_000_060.0)
    assert clock.sleeps == ()


def test_it_starts_where_it_is_told():
    clock = FakeClock(5.5, epoch=100.0)
    assert (clock.monotonic(), clock.time()) == (5.5, 105.5)


def test_sleeping_moves_it_at_once_and_is_on_record():
    clock = FakeClock()
    clock.sleep(2)
    clock.sleep(0)
    assert (clock.monotonic(), clock.sleeps) == (2.0, (2.0, 0.0))


def test_sleeping_in_a_task_lets_others_run():
    """Under asyncio: a task that only ever sleeps does not starve its neighbour."""
    clock = FakeClock()

    async def both():
        flag = []

        async def wait():
            while not flag:
                await clock.asleep(1)

        async def set_flag():
            flag.append(True)

        await asyncio.wait_for(asyncio.gather(wait(), set_flag()), 5)

    asyncio.run(both())
    assert clock.monotonic() >= 1.0


def test_sleeping_in_a_task_works_under_trio():
    clock = FakeClock()
    trio.run(clock.asleep, 3)
    assert clock.sleeps == (3.0,)


@pytest.mark.parametrize("wrong", [-1, -0.001, float("nan"), float("inf")])
def test_what_is_no_duration_is_refused_and_nothing_moves(wrong):
    clock = FakeClock()
    for verb in (clock.advance, clock.sleep, FakeClock):
        with pytest.raises(ConfigError, match="no duration"):
            verb(wrong)
    with pytest.raises(ValueError, match="no duration"):
        asyncio.run(clock.asleep(wrong))
    assert (clock.monotonic(), clock.sleeps) == (0.0, ())


def test_no_step_is_lost_between_threads():
    clock = FakeClock()

    def step():
        for _ in range(2000):
            clock.advance(1)
            clock.sleep(1)

    threads = [threading.Thread(target=step) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (clock.monotonic(), len(clock.sleeps)) == (16_000.0, 8_000)
