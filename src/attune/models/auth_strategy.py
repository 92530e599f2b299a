"""How calls are billed: the user's plan, the mode it suggests for a module of so many lines, and what that would cost.

Accounts and recommends. It never signs in, holds no key, and replays no token; only the executor follows its mode. The
file it lives in is `auth_file.py`'s, the price in an estimate the catalogue's.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attune.errors import ConfigError
from attune.models import auth_file, billing
from attune.models.auth_fields import CHECKS, AuthMode, SubscriptionTier, as_lines, as_word, shorten
from attune.models.code_size import MEDIUM, SMALL, count_lines_of_code, get_module_size_category
from attune.models.registry import ModelInfo

__all__ = [
    "AUTH_STRATEGY_FILE",
    "AuthMode",
    "AuthStrategy",
    "SubscriptionTier",
    "count_lines_of_code",
    "get_auth_strategy",
    "get_module_size_category",
]

SCHEMA: Final = 1
REMEDY: Final = "Run `attune auth setup`."

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    AUTH_STRATEGY_FILE: Path


def __getattr__(name: str) -> Any:
    """AUTH_STRATEGY_FILE is where the file is now: evaluated at each access, because ATTUNE_HOME moves it."""
    if name == "AUTH_STRATEGY_FILE":
        return auth_file.locate()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@dataclass(slots=True)
class AuthStrategy:
    """The user's choices. Fields can be assigned; a value that cannot be raises ConfigError there and then.

    Thresholds are lines of code, `loc_to_tokens_multiplier` tokens per line. `prefer_subscription` decides modules of
    medium size, `cost_optimization` whether the cheaper mode is pointed out in `get_pros_cons`. `metadata` is the
    caller's own, kept in the file: JSON, and never a secret. Not for writing from several threads at once.
    """

    subscription_tier: SubscriptionTier = SubscriptionTier.PRO
    default_mode: AuthMode = AuthMode.AUTO
    small_module_threshold: int = SMALL
    medium_module_threshold: int = MEDIUM
    loc_to_tokens_multiplier: float = 4.0
    setup_completed: bool = True
    prefer_subscription: bool = True
    cost_optimization: bool = True
    metadata: dict[str, Any] = field(default_factory=dict)
    foreign: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse what no field can hold, and turn words into ours."""
        check = CHECKS.get(name)
        object.__setattr__(self, name, check(name, value) if check is not None else value)

    def __post_init__(self) -> None:
        """Refuse thresholds that contradict each other."""
        self._check_thresholds()

    def get_recommended_mode(self, module_lines: int) -> AuthMode:
        """The mode for a module of so many lines of code; never AUTO.

        A `default_mode` other than AUTO wins. PRO and API_ONLY pay by the token, since a small allowance is soon spent;
        the other plans use it for small modules, for medium ones if `prefer_subscription`, and never from medium on.
        """
        lines = as_lines(module_lines)
        self._check_thresholds()
        if self.default_mode is not AuthMode.AUTO:
            return self.default_mode
        if self.subscription_tier in (SubscriptionTier.PRO, SubscriptionTier.API_ONLY):
            return AuthMode.API
        if lines < self.small_module_threshold:
            return AuthMode.SUBSCRIPTION
        if lines < self.medium_module_threshold and self.prefer_subscription:
            return AuthMode.SUBSCRIPTION
        return AuthMode.API

    def estimate_tokens(self, module_lines: int) -> int:
        """About how many tokens a module of so many lines is: lines times `loc_to_tokens_multiplier`, rounded down."""
        return int(as_lines(module_lines) * self.loc_to_tokens_multiplier)

    def estimate_cost(
        self, module_lines: int, mode: AuthMode | str | None = None, *, model: ModelInfo | None = None
    ) -> dict[str, Any]:
        """What one request that holds such a module would cost, and whether it fits into the model's window.

        `mode`: None or AUTO means the recommended one. `model`: None takes the capable default of anthropic. Keys: mode,
        monetary_cost (USD; 0.0 by subscription, None if the price is unknown), quota_cost (text, or None), tokens_used,
        fits_in_context (None if the window is unknown), tier (the plan) and assumptions, which names all that was
        supposed. Raises ConfigError for a negative number of lines or an unknown mode.
        """
        asked = AuthMode.AUTO if mode is None else as_word(AuthMode)("mode", mode)
        chosen = self.get_recommended_mode(module_lines) if asked is AuthMode.AUTO else asked
        return billing.estimate(
            self.estimate_tokens(module_lines),
            mode=chosen.value,
            plan=self.subscription_tier.value,
            model=billing.assumed_model() if model is None else model,
            tokens_per_line=self.loc_to_tokens_multiplier,
        )

    def get_pros_cons(self, module_lines: int, *, model: ModelInfo | None = None) -> dict[str, dict[str, Any]]:
        """`{subscription|api|auto: {name, cost, pros, cons, estimate}}` for a module of so many lines.

        `auto.estimate` also holds current_recommendation, and cheaper: the mode of lower cost, if `cost_optimization`.
        """
        model = billing.assumed_model() if model is None else model
        by_plan = self.estimate_cost(module_lines, AuthMode.SUBSCRIPTION, model=model)
        by_token = self.estimate_cost(module_lines, AuthMode.API, model=model)
        chosen = self.get_recommended_mode(module_lines)
        has_plan = self.subscription_tier is not SubscriptionTier.API_ONLY
        auto = {
            **(by_token if chosen is AuthMode.API else by_plan),
            "current_recommendation": chosen.value,
            "cheaper": ("subscription" if has_plan else "api") if self.cost_optimization else None,
        }
        return billing.compare(by_plan, by_token, auto)

    def to_dict(self) -> dict[str, Any]:
        """The strategy as JSON would hold it, with its schema, and what a newer version had written beside."""
        known = {name: getattr(self, name) for name in _FIELDS}
        known["subscription_tier"] = self.subscription_tier.value
        known["default_mode"] = self.default_mode.value
        known["metadata"] = dict(self.metadata)
        return {"schema": SCHEMA, **self.foreign, **known}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> AuthStrategy:
        """Read what `to_dict` wrote. A missing key takes its default, a foreign one is kept. Raises ConfigError."""
        if not isinstance(given, Mapping):
            raise ConfigError(f"An auth strategy is a JSON object, not {type(given).__name__}. {REMEDY}")
        schema = given.get("schema", SCHEMA)
        if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
            raise ConfigError(f"schema={shorten(schema)}: not a schema of an auth strategy. {REMEDY}")
        made = cls(**{name: given[name] for name in _FIELDS if name in given})
        made.foreign = {str(key): value for key, value in given.items() if key not in _FIELDS}
        return made

    def save(self, path: str | Path | None = None) -> Path:
        """Write the file whole, mode 0600, in a directory of mode 0700; returns its path. None: AUTH_STRATEGY_FILE.

        A file that is there and could not be read in full, or is of a newer schema, is kept as `.bak`; a link is replaced.
        Raises ConfigError for metadata that JSON cannot hold, StateError if the file cannot be written.
        """
        self._check_thresholds()
        target = auth_file.locate() if path is None else Path(path)
        try:
            text = json.dumps(self.to_dict(), indent=2, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(
                f"metadata cannot be written as JSON ({error}). Use strings, numbers, lists and dicts."
            ) from None
        _, problem = read_strategy(target)
        auth_file.replace(target, text.encode() + b"\n", keep=problem is not None and auth_file.is_there(target))
        return target

    @classmethod
    def load(cls, path: str | Path | None = None) -> AuthStrategy:
        """Read the file; None: AUTH_STRATEGY_FILE. Never raises and never waits.

        Where it is missing or broken: defaults with `setup_completed` False, and a logged warning that names the remedy.
        """
        strategy, problem = read_strategy(None if path is None else Path(path))
        if problem is not None:
            _log.warning("%s", problem)
        return strategy

    def _check_thresholds(self) -> None:
        if self.small_module_threshold > self.medium_module_threshold:
            raise ConfigError(
                f"small_module_threshold={self.small_module_threshold} is over "
                f"medium_module_threshold={self.medium_module_threshold}. Lower the one or raise the other."
            )


def get_auth_strategy() -> AuthStrategy:
    """The saved strategy, read now; defaults with `setup_completed` False where there is none. Never asks, never raises."""
    return AuthStrategy.load()


def read_strategy(path: Path | None = None) -> tuple[AuthStrategy, str | None]:
    """The strategy in a file, and what is wrong with that file: None, or a sentence that names the remedy."""
    where = auth_file.locate() if path is None else path
    try:
        given = json.loads(auth_file.read(where), parse_constant=_refuse_constant)
        if isinstance(given, dict):
            given.setdefault("setup_completed", False)  # nobody said that it was
        strategy = AuthStrategy.from_dict(given)
    except FileNotFoundError:
        return AuthStrategy(setup_completed=False), f"No auth strategy at {where}: defaults are used. {REMEDY}"
    except (OSError, ValueError, RecursionError) as error:  # ConfigError is a ValueError
        told = str(error) if isinstance(error, (ConfigError, OSError)) else "it is not JSON"
        return AuthStrategy(
            setup_completed=False
        ), f"{where} is not used: {told.removesuffix(REMEDY).rstrip(' .')}. {REMEDY}"
    schema = strategy.foreign.get("schema", SCHEMA)
    if schema > SCHEMA:
        return (
            strategy,
            f"{where} is of schema {schema}, newer than {SCHEMA}: what is unknown here is kept unread. {REMEDY}",
        )
    return strategy, None


def _refuse_constant(word: str) -> Any:
    raise ValueError(word)


_FIELDS: Final = tuple(each.name for each in fields(AuthStrategy) if each.init)
