"""What each field of the auth strategy may hold: the plans, the modes, and one check a field.

Every check returns the value as the field keeps it, or raises ConfigError naming the field, the value and the choice.
Knows no file, and no rule that takes two fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, TypeVar

from attune.errors import ConfigError

_Word = TypeVar("_Word", bound=StrEnum)


class _AnyCase(StrEnum):
    @classmethod
    def _missing_(cls, value: object) -> Any:
        return cls.__members__.get(value.upper()) if isinstance(value, str) else None


class SubscriptionTier(_AnyCase):
    """The user's Claude plan; API_ONLY: none, every token is paid."""

    FREE = "free"
    PRO = "pro"
    MAX = "max"
    ENTERPRISE = "enterprise"
    API_ONLY = "api_only"


class AuthMode(_AnyCase):
    """Billed to the plan's allowance, billed by the token, or whichever suits the module's size."""

    SUBSCRIPTION = "subscription"
    API = "api"
    AUTO = "auto"


def shorten(value: Any) -> str:
    """A value for a message: what stands in a file may be long."""
    return repr(value)[:60]


def as_lines(lines: Any) -> int:
    """A number of lines of code. Raises ConfigError for anything else."""
    if not isinstance(lines, int) or isinstance(lines, bool) or lines < 0:
        raise ConfigError(f"module_lines={shorten(lines)}: a number of lines is an integer, 0 or more.")
    return lines


def as_word(words: type[_Word]) -> Callable[[str, Any], _Word]:
    """A check for one of these words, in any case."""

    def check(name: str, value: Any) -> _Word:
        try:
            return words(value)
        except ValueError:
            raise ConfigError(f"{name}={shorten(value)}: use one of: {', '.join(words)}.") from None

    return check


def _is_count(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigError(f"{name}={shorten(value)}: a number of lines is an integer, 0 or more.")
    return value


def _is_rate(name: str, value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= 1000:
        raise ConfigError(f"{name}={shorten(value)}: tokens per line of code, over 0 and at most 1000 (4.0 is usual).")
    return float(value)


def _is_flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{name}={shorten(value)}: use true or false.")
    return value


def _is_object(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{name}: a dict is needed, not {type(value).__name__}.")
    return value


CHECKS: Final[Mapping[str, Callable[[str, Any], Any]]] = MappingProxyType(
    {
        "subscription_tier": as_word(SubscriptionTier),
        "default_mode": as_word(AuthMode),
        "small_module_threshold": _is_count,
        "medium_module_threshold": _is_count,
        "loc_to_tokens_multiplier": _is_rate,
        "setup_completed": _is_flag,
        "prefer_subscription": _is_flag,
        "cost_optimization": _is_flag,
        "metadata": _is_object,
    }
)
