"""The slot: how the seed's argument-free names reach the live parts of this process.

`models` is pure, yet `CircuitBreaker()` and `AdaptiveModelRouter()` speak of the circuits and windows that the calls of
this process use. They take them from here; `attune/__init__.py` registers who provides them. This file builds nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from attune.errors import StateError

if TYPE_CHECKING:  # every `import attune` loads this file: what only its signatures name waits until it is used
    from attune.models.call import Target
    from attune.models.circuits import Circuits
    from attune.models.registry import Catalogue, ModelTier
    from attune.models.response import LLMResponse
    from attune.models.snapshot import Snapshot


class Clock(Protocol):
    """Time as attune sees it. `monotonic` decides, `time` is only shown; both in seconds."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    def time(self) -> float:
        """Epoch seconds."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait on this thread."""
        ...

    async def asleep(self, seconds: float) -> None:
        """Wait in this task."""
        ...


class Process(Protocol):
    """The live parts of one process."""

    @property
    def clock(self) -> Clock:
        """What every duration is measured on."""
        ...

    @property
    def dice(self) -> Callable[[], float]:
        """A source of numbers in [0, 1)."""
        ...

    @property
    def circuits(self) -> Circuits:
        """The circuits that the guarded calls use."""
        ...

    @property
    def catalogue(self) -> Catalogue:
        """Models and prices."""
        ...

    @property
    def default_tier(self) -> ModelTier:
        """Where a question goes when nothing is proven."""
        ...

    def targets(self) -> tuple[Target, ...]:
        """The configured candidates, resolved; the tier defaults where none are configured."""
        ...

    def snapshot(self) -> Snapshot:
        """All windows at this moment. No I/O, no wait."""
        ...

    def settle_in(self) -> None:
        """For questions, never for calls: give the host store up to a second to be read for the first time."""
        ...

    def fault(self, where: str, error: BaseException) -> None:
        """Count a fault of attune's own, and log it once."""
        ...

    def execute(self, prompt: str, **request: Any) -> LLMResponse:
        """Prompt in, answer out. A provider's failure is an answer, not an exception."""
        ...

    async def aexecute(self, prompt: str, **request: Any) -> LLMResponse:
        """The same, awaited."""
        ...


_slot: list[Callable[[], Process]] = []


def provide(provider: Callable[[], Process]) -> None:
    """Register who builds or finds this process's parts. The last one wins."""
    _slot[:] = [provider]


def current() -> Process:
    """The live parts, built on first use."""
    if not _slot:
        raise StateError("No process is provided. Import `attune` before using `attune.models`.")
    return _slot[0]()
