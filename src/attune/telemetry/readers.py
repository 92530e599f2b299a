"""A reader from its text form: what `--from`, settings and environment variables write.

Knows which word means which reader, and nothing of any reader's work.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module

from attune.errors import ConfigError
from attune.models.performance import TelemetryReader


def from_text(text: str, *, now: Callable[[], float] | None = None) -> TelemetryReader:
    """`file:PATH` or `promql+http(s)://...` as a reader. Raises ConfigError for anything else.

    `now` gives epoch seconds where the process has a clock of its own.
    """
    if text.startswith("file:"):
        module, name = "attune.telemetry.read_otlp_file", "OtlpFileReader"
    elif text.startswith(("promql+http://", "promql+https://")):
        module, name = "attune.telemetry.read_promql", "PromQLReader"
    else:
        raise ConfigError(
            f"{re.sub('//[^/]*@', '//', text)!r} is no reader. Write file:PATH or promql+http(s)://HOST/PATH."
        )
    try:
        reader: TelemetryReader = getattr(import_module(module), name).from_text(
            text, **({} if now is None else {"now": now})
        )
    except ImportError as error:
        raise ConfigError(f"{text.partition(':')[0]!r} needs a package that is not installed: {error.name}.") from error
    return reader
