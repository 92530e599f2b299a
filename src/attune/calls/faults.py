"""What is logged of a fault of attune's own: where, of what type, and by which lines of code; never a text of anybody else's.

Messages may hold prompts, and so may the messages of what an error is chained to. Those of ours say what to do, and no more.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from attune.errors import AttuneError

log = logging.getLogger("attune")


def log_first(where: str, error: BaseException) -> None:
    """The first fault of its place: a warning, and at DEBUG what helps to find it."""
    log.warning("attune: fault in %s (%s); the call goes on without it", where, type(error).__name__)
    if log.isEnabledFor(logging.DEBUG):
        said = str(error) if isinstance(error, AttuneError) else type(error).__name__
        log.debug(
            "attune: first fault in %s: %s, at %s", where, said, " < ".join(reversed([*_lines(error)])) or "no line"
        )


def _lines(error: BaseException) -> Iterator[str]:
    trace = error.__traceback__
    while trace is not None:
        yield f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
