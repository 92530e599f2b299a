"""Late verdicts: a score for a call that ended a while ago, perhaps in another process.

The id carries the cell and the time; nothing is looked up.
"""

from __future__ import annotations

import logging
from typing import Any

from attune.calls import default as process
from attune.calls.identity import read_call_id
from attune.errors import ConfigError
from attune.models.performance import Verdict

log = logging.getLogger("attune.calls")

_LATEST_S = 7 * 86400.0


def report_quality(call_id: str, score: float) -> None:
    """Say how good an answer was, 0..1, up to 7 days after the call, from any process.

    The verdict counts in the window of the call that it is about. An id that is not ours, or is too old, is counted as a
    fault and ignored. ConfigError for a score that is no number from 0 to 1.
    """
    given: Any = score
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 <= given <= 1:
        raise ConfigError(f"report_quality(score={score!r}): a score is a number from 0 to 1.")
    runtime = process.current()
    read = read_call_id(str(call_id))
    if read is None or runtime.clock.time() - read[1] / 1e6 > _LATEST_S:
        runtime.fault("report_quality", ConfigError("unknown or too old call id"))
        return
    series, at_us = read
    runtime.enter()
    runtime.windows.judge(Verdict(series=series, at_us=at_us, quality_micro=round(score * 1e6)))
    runtime.emitter.quality(series, float(score))
