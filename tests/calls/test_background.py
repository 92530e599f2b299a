"""What runs beside the calls: how old a reader's news is, also while the reader fails."""

from __future__ import annotations

from typing import Any

from attune.models.performance import Batch
from attune.testing import Sandbox


class Fickle:
    """A reader that speaks once, and fails from then on."""

    name = "fickle"
    scope = "fleet"

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.polls = 0

    def poll(self, since: bytes | None, deadline_s: float) -> Batch:
        self.polls += 1
        if self.polls > 1:
            raise OSError("gone")
        return Batch(watermark_ns=int((self.clock.time() - 3) * 1e9))

    def close(self) -> None:
        """Nothing to close."""


def test_the_news_of_a_failing_reader_grows_older(attune_sandbox: Sandbox):
    """The gauge and the decision's data age follow the clock, not the reader's last success."""
    reader = Fickle(attune_sandbox.clock)
    runtime = attune_sandbox.configure(readers=(reader,), refresh_s=1000.0)
    runtime.settle_in()
    refresher = runtime._background._refresher
    assert round(runtime.data_age_s()) == 3
    attune_sandbox.clock.advance(60)
    refresher.poll_once()
    assert round(runtime.data_age_s()) == 63
    ages = attune_sandbox.metrics()["attune.reader.age"].values()
    assert [round(value) for value in ages] == [63]
    assert runtime.faults["reader:fickle"] == 1
