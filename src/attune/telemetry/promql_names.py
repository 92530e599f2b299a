"""What a Prometheus calls attune's metrics and attributes: derived from names.py by one rule for each translation strategy.

On the way from OTLP, dots become underscores, units and `_total` are appended, or not, by the receiver's setting. Which
of the four was used is seen from the names that are there; the first is the default everywhere. Sends nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from attune.telemetry import names as n

_UNITS: Final[Mapping[str, str]] = {"s": "seconds", "By": "bytes"}
_HISTOGRAMS: Final[Mapping[str, str]] = {n.CALL_DURATION: n.SECONDS, n.ATTEMPT_DURATION: n.SECONDS}
_PLAIN: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Naming:
    """One translation strategy: whether dots become underscores, and whether units and `_total` are appended."""

    strategy: str
    escaped: bool
    suffixed: bool

    def metric(self, name: str, part: str = "") -> str:
        """The name of a metric; `part` is `_bucket`, `_sum` or `_count` of a histogram."""
        words = name
        if self.suffixed:
            unit = n.COUNTERS.get(name) or n.GAUGES.get(name) or _HISTOGRAMS.get(name, "")
            if unit in _UNITS and not name.endswith(_UNITS[unit]):
                words += f"_{_UNITS[unit]}"
            if name in n.COUNTERS:
                words += "_total"
        return self.label(words) + part

    def label(self, name: str) -> str:
        """The name of an attribute."""
        return re.sub(r"[^a-zA-Z0-9_:]", "_", name) if self.escaped else name

    def written(self, name: str) -> str:
        """An attribute's name as a query writes it."""
        return quoted(self.label(name))


NAMINGS: Final = (
    Naming("UnderscoreEscapingWithSuffixes", escaped=True, suffixed=True),
    Naming("NoUTF8EscapingWithSuffixes", escaped=False, suffixed=True),
    Naming("UnderscoreEscapingWithoutSuffixes", escaped=True, suffixed=False),
    Naming("NoTranslation", escaped=False, suffixed=False),
)
USUAL: Final = NAMINGS[0]
ANY_METRIC: Final = f'{{__name__=~"{n.SCOPE}[._].+"}}'


def quoted(label: str) -> str:
    """A label's name as a query writes it: in quotes where it has dots."""
    return label if _PLAIN.fullmatch(label) else text(label)


def text(value: str) -> str:
    """A string of PromQL."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def naming_of(found: Collection[str]) -> Naming | None:
    """The strategy by which attempts are named among these metrics; None where there are none."""
    return next((naming for naming in NAMINGS if naming.metric(n.ATTEMPTS) in found), None)
