"""The queries of the fleet's reader: sums by series, never ratios, so that what comes back adds up and 0/0 cannot be.

`gained` says exactly how much counters grew, where `increase` extrapolates and loses what falls between two windows. A
selector from a person is checked before it goes in; every value is escaped. Sends nothing, and knows no clock.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from attune.errors import ConfigError
from attune.telemetry import names as n
from attune.telemetry.promql_names import USUAL, Naming, text

SERIES: Final = (n.WORKFLOW, n.STAGE, n.GEN_AI_PROVIDER, n.GEN_AI_MODEL)
INSTANCES: Final = (n.INSTANCE_ID, "instance")
_SOURCES: Final = ("job", "instance")
_BEFORE_S: Final = 600  # how far before a window a counter's last word is looked for
_EARLY_S: Final = 300  # the first value of a window with resets is the least of its first minutes
_LABEL: Final = r'(?:[a-zA-Z_][a-zA-Z0-9_]*|"(?:[^"\\\n]|\\.)+")'
_MATCHER: Final = re.compile(rf'\s*{_LABEL}\s*(?:=~|!~|!=|=)\s*"(?:[^"\\\n]|\\.)*"\s*')


def checked_selector(selector: str) -> str:
    """Label matchers as a person writes them: `app="shop",cluster=~"eu-.+"`. Raises ConfigError for anything else."""
    bare, at = selector.strip().removeprefix("{").removesuffix("}").strip().rstrip(","), 0
    while at < len(bare):
        found = _MATCHER.match(bare, at)
        if found is None or bare[found.end() : found.end() + 1] not in ("", ","):
            raise ConfigError(f'selector={selector!r}: write label matchers, as in app="shop",cluster=~"eu-.+".')
        at = found.end() + 1
    return bare


@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """Writes queries in one naming. `leave_out`: instances whose evidence is known otherwise.

    `reaches_back`: the store's `increase` begins at the sample before the window, as VictoriaMetrics' does.
    """

    naming: Naming = USUAL
    selector: str = ""
    leave_out: Collection[str] = ()
    reaches_back: bool = False

    def series(self, metric: str, part: str = "", more: str = "", *, everybody: bool = False) -> str:
        """A metric's series, without stand-ins and without the instances that are left out."""
        matchers = [f"__name__={text(self.naming.metric(metric, part))}"]
        matchers += [f"{self.naming.written(label)}!={text(n.OTHER)}" for label in SERIES]
        if self.leave_out and not everybody:
            ids = text("|".join(re.escape(one) for one in sorted(self.leave_out)))
            matchers += [f"{self.naming.written(label)}!~{ids}" for label in INSTANCES]
        return "{" + ",".join([*matchers, *filter(None, (more, self.selector))]) + "}"

    def matcher(self, label: str, value: str) -> str:
        """One matcher more."""
        return f"{self.naming.written(label)}={text(value)}"

    def gained(self, series: str, by: Collection[str], window_s: int) -> str:
        """How much counters grew in the last `window_s` seconds, exactly, summed by attributes.

        The last value less the one before the window; all of the last value where the counter fell in between, or is new
        while others of its instance are not; less the first value where the whole instance is new to the store. Where a
        counter was reset within the window it is `increase`, which extrapolates by an interval at most, and what came
        between the value before the window and the first one in it.
        """
        here, first, before, sources = self._around(series, window_s)
        floor = f"(({before} <= {first}) or 0 * {before} or (0 * {first} and on({sources}) {before}) or {first})"
        reset = f"(increase({here}) and resets({here}) > 0)"
        if not self.reaches_back:
            early = min(window_s, _EARLY_S)
            start = f"min_over_time({series}[{early}s] offset {window_s - early}s)"
            reset = f"({reset} + (({start} - {before} > 0) or 0 * {first}))"
        return f"sum by ({self._by(by)}) ({reset} or (last_over_time({here}) - {floor}))"

    def lost(self, series: str, by: Collection[str], window_s: int) -> str:
        """How much `gained` may have missed: first values, above 0, of instances that are new to the store."""
        _, first, before, sources = self._around(series, window_s)
        return f"sum by ({self._by(by)}) ({first} unless on({sources}) {before})"

    def _around(self, series: str, window_s: int) -> tuple[str, str, str, str]:
        here = f"{series}[{window_s}s]"
        before = f"last_over_time({series}[{_BEFORE_S}s] offset {window_s}s)"
        sources = ",".join([*_SOURCES, self.naming.written(n.INSTANCE_ID)])
        return here, f"min_over_time({here})", before, sources

    def increase(self, series: str, by: Collection[str], window_s: int) -> str:
        """How much counters grew, extrapolated: for distributions, whose shape is all that is asked of them."""
        return f"sum by ({self._by(by)}) (increase({series}[{window_s}s]))"

    def newest(self, series: str) -> str:
        """When the store last heard of these series: within the last minutes, as instant queries look back."""
        return f"max(timestamp({series}))"

    def newest_of_day(self, series: str) -> str:
        """The same within a day."""
        return f"max(max_over_time(timestamp({series})[1d:5m]))"

    def sightings(self, series: str, by: Collection[str], window_s: int) -> str:
        """How many samples of a series there are, at its best instance."""
        return f"max by ({self._by(by)}) (count_over_time({series}[{window_s}s]))"

    def _by(self, labels: Collection[str]) -> str:
        return ",".join(self.naming.written(label) if "." in label else label for label in labels)
