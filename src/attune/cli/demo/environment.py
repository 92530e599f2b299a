"""The demo's surroundings: nothing that a person has set for their own services may bend it, or be reached by it.

Variables are put back when it ends.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_OWN: Final = ("OTEL_", "ATTUNE_", "ANTHROPIC_")


def without_own() -> dict[str, str]:
    """The environment for a child: this one, without what steers OpenTelemetry, attune or the SDK."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(_OWN)}


@contextmanager
def plain() -> Iterator[None]:
    """Set those variables aside inside the `with` block, so that spans go to the demo's files and to nobody's collector."""
    before = {name: value for name, value in os.environ.items() if name.upper().startswith(_OWN)}
    for name in before:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(before)
