"""The demo against the real API: the same three runs on questions that can be checked, under a spending cap.

Nothing is scripted, so there is no outage. A call is made only if it cannot take the spending past the cap, each answer
reckoned at its longest and dearest.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from attune.cli.demo.arms import WithAttune
from attune.cli.demo.clients import MAX_TOKENS, Clients
from attune.cli.demo.course import Course, Models, Watch, bare_runs, begin, conclude, ground, make
from attune.cli.demo.traffic import Task
from attune.cli.demo.world import tier_defaults
from attune.errors import ConfigError, StateError
from attune.models.response import Usage

KEY: Final = "ANTHROPIC_API_KEY"
_TIMEOUT_S: Final = 60.0
_REAL_RECOVERY_S: Final = 60.0
_ANSWERS: Final = 5  # at most: one of each bare run, and attune's three targets, of which two may have been cut
_PATIENCE: Final = 3


def checked_key(environ: Mapping[str, str], max_usd: float) -> str:
    """The key to spend with, or a ConfigError before anything is spent."""
    if not environ.get(KEY, "").strip():
        raise ConfigError(f"--live spends real money at the Anthropic API and needs {KEY}, which is not set.")
    if not 0 < max_usd <= 100:
        raise ConfigError(f"--max-usd {max_usd:g}: give the cap on spending in USD, over 0 and at most 100.")
    return environ[KEY].strip()


def run_live(tasks: list[Task], seed: int, out: Path, watch: Watch, *, max_usd: float) -> Course:
    """The three runs at the real API, until the tasks or the cap end. StateError if the API answers nothing."""
    key, base_url = checked_key(os.environ, max_usd), os.environ.get("ANTHROPIC_BASE_URL") or None
    with ground(out, seed, recovery_s=_REAL_RECOVERY_S) as (telemetry, transitions, run):
        models = tier_defaults()
        course = begin(seed, models, telemetry, transitions)
        with Clients(run) as clients:
            pair = clients.pair(base_url=base_url, api_key=key, timeout_s=_TIMEOUT_S, near=False)
            guarded = WithAttune(pair, lambda _: [], [it.id for it in models], run)
            runs = (guarded, *bare_runs(models, pair, run, telemetry))
            watch.phase("the real API", "")
            began = time.perf_counter()
            left = max_usd
            for task in tasks:
                if left < (most := _most(task, models)):
                    break
                make(course, task, "live", runs)
                left -= max(_spent(course), most if _unknown(course) else 0.0)
                watch.done(course.attune[-1])
                _check_answers(course)
            course.seconds = time.perf_counter() - began
        conclude(course, telemetry, out)
    return course


def _most(task: Task, models: Models) -> float:
    """USD that one round may cost: a token is at least one byte of the prompt."""
    usage = Usage(input_tokens=len(task.prompt.encode()) + 50, output_tokens=MAX_TOKENS)
    return _ANSWERS * max(it.price.cost_nano(usage) for it in models) / 1e9


def _spent(course: Course) -> float:
    return sum(run[-1].cost for run in (course.attune, course.without, course.always_premium))


def _unknown(course: Course) -> bool:
    """Whether the last round may have cost more than is known."""
    return any(not run[-1].returned for run in (course.attune, course.without, course.always_premium))


def _check_answers(course: Course) -> None:
    if len(course.attune) == _PATIENCE and not any(it.returned for it in course.attune):
        raise StateError(
            f"The API answered none of the first {_PATIENCE} calls ({course.attune[-1].error or 'unknown'}). Check {KEY}, "
            "the network, and that the account may use these models."
        )
