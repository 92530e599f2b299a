"""What a person may set, and where from: code over environment over file.

A wrong value in code is a ConfigError; in the environment or a file it is one warning and the default, because a typo in
a deployment must not stop the service. pydantic checks shapes, and is loaded only when settings are read.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from attune.calls.reroute import Rule, rules_from
from attune.calls.words import unknown
from attune.errors import ConfigError
from attune.models.call import Mode, Target
from attune.models.registry import ModelInfo, ModelTier

log = logging.getLogger("attune.settings")


def home_from(environ: Mapping[str, str]) -> Path:
    """Where attune keeps its files: ATTUNE_HOME, else `~/.attune`."""
    said = environ.get("ATTUNE_HOME", "").strip()
    return Path(said).expanduser() if said else Path("~/.attune").expanduser()


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """The shared circuits' settings; meanings and ranges as in `CircuitBreaker`."""

    failure_threshold: int = 5
    recovery_timeout_seconds: float = 60.0
    half_open_calls: int = 1
    probe_lease_seconds: float = 120.0

    def __post_init__(self) -> None:
        for name in ("failure_threshold", "half_open_calls"):
            _require(getattr(self, name) >= 1, f"breaker.{name}", getattr(self, name), "1 or more")
        for name in ("recovery_timeout_seconds", "probe_lease_seconds"):
            value = getattr(self, name)
            _require(0 < value < 1e9, f"breaker.{name}", value, "seconds over 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that `attune.configure` takes but live objects. Units: seconds, USD, shares 0..1."""

    mode: Mode = "enforce"
    state: Literal["host", "memory"] = "host"
    home: Path = field(default_factory=lambda: home_from(os.environ))
    namespace: str = "default"
    candidates: tuple[str, ...] = ()
    default_tier: ModelTier = ModelTier.CHEAP
    timeout_s: float | None = None
    max_attempts: int | None = None
    max_wait_s: float = 10.0
    explore: bool = True
    seed: int | None = None
    readers: tuple[str, ...] | None = None
    breaker: Breaker = field(default_factory=Breaker)
    reroute: tuple[Rule, ...] = ()
    strict_streams: bool = False
    refresh_s: float = 2.0
    max_series: int = 2000
    gen_ai_metrics: bool = True
    gen_ai_names: Literal["1.41", "0.1"] = "1.41"

    def __post_init__(self) -> None:
        if self.timeout_s is not None:
            _require(0 < self.timeout_s < 1e9, "timeout_s", self.timeout_s, "seconds over 0")
        if self.max_attempts is not None:
            _require(self.max_attempts >= 1, "max_attempts", self.max_attempts, "1 or more")
        _require(0 <= self.max_wait_s < 1e9, "max_wait_s", self.max_wait_s, "seconds, 0 or more")
        _require(0 < self.refresh_s < 1e9, "refresh_s", self.refresh_s, "seconds over 0")
        _require(self.max_series >= 1, "max_series", self.max_series, "1 or more")
        _require(bool(self.namespace.strip()), "namespace", self.namespace, "a non-empty word")


KEYS = tuple(f.name for f in fields(Settings))


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What only code can hand over: objects."""

    candidates: tuple[str | Target, ...] = ()
    models: tuple[ModelInfo, ...] = ()
    readers: tuple[Any, ...] | None = None
    dialects: tuple[Any, ...] = ()
    clients: Mapping[str, Any] = field(default_factory=dict)
    on_event: Callable[[Any], None] | None = None
    clock: Any = None
    dice: Callable[[], float] | None = None
    tracer_provider: Any = None
    meter_provider: Any = None


LIVE_KEYS = tuple(f.name for f in fields(Live))


def _require(holds: bool, name: str, value: Any, wanted: str) -> None:
    if not holds:
        raise ConfigError(f"{name}={value!r}: {name} must be {wanted}.")


def from_code(words: Mapping[str, Any], environ: Mapping[str, str], start: Path) -> Settings:
    """The settings in force: `words` of `configure()` over `ATTUNE_*` over the nearest file above `start`."""
    for name in words:
        if name not in KEYS:
            raise ConfigError(unknown("configure", name, sorted({*KEYS, *LIVE_KEYS})))
    outside = {**read_file(start), **read_environment(environ)}
    said = {**outside, **{name: _checked(name, value, "configure") for name, value in words.items()}}
    try:
        return replace(Settings(), **said)
    except TypeError as error:
        raise ConfigError(f"configure: {error}") from error


def read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """`ATTUNE_<KEY>`: plain words, numbers, true/false, or JSON for lists and tables. Other names are ignored."""
    words = {key: environ[name] for key in KEYS if (name := f"ATTUNE_{key.upper()}") in environ}
    return _lenient(words, lambda key: f"the environment's ATTUNE_{key.upper()}", text=True)


def read_file(start: Path) -> dict[str, Any]:
    """The nearest attune.toml, or `[tool.attune]` of pyproject.toml, upward from `start`."""
    import tomllib

    for folder in (start, *start.parents):
        for name in ("attune.toml", "pyproject.toml"):
            path = folder / name
            try:
                table = tomllib.loads(path.read_text("utf-8"))
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                log.warning("%s cannot be read and is ignored: %s", path, type(error).__name__)
                continue
            if name == "pyproject.toml" and "attune" not in table.get("tool", {}):
                continue
            words = table if name == "attune.toml" else table["tool"]["attune"]
            return _lenient(words, functools.partial("{} ({})".format, path))
    return {}


def _lenient(words: Mapping[str, Any], where: Callable[[str], str], *, text: bool = False) -> dict[str, Any]:
    good = {}
    for name, value in words.items():
        try:
            if name not in KEYS:
                raise ConfigError(unknown(where(name), name, KEYS))
            good[name] = _checked(name, _from_text(name, value) if text else value, where(name))
        except ConfigError as error:
            log.warning("%s The default is used.", error)
    return good


def _from_text(name: str, value: str) -> Any:
    if name in ("candidates", "readers", "breaker", "reroute"):
        import json

        if name in ("candidates", "readers") and not value.lstrip().startswith("["):
            return tuple(word.strip() for word in value.split(",") if word.strip())
        try:
            return json.loads(value)
        except ValueError:
            raise ConfigError(f"{name}: the environment's value is not JSON.") from None
    return value


@functools.cache
def _adapter(name: str) -> Any:
    import typing

    from pydantic import TypeAdapter

    return TypeAdapter(typing.get_type_hints(Settings)[name])


def _checked(name: str, value: Any, where: str) -> Any:
    """One value in its right type, checked by the same rules wherever it comes from."""
    from pydantic import ValidationError

    if name == "reroute":
        return rules_from(where, value)
    if name == "default_tier" and isinstance(value, str):
        value = value.lower()
    if name == "breaker" and isinstance(value, Mapping):
        known = [f.name for f in fields(Breaker)]
        for key in value:
            if key not in known:
                raise ConfigError(unknown(f"{where}: breaker", key, known))
    if name == "readers" and value is not None:
        from attune.telemetry.readers import from_text

        for text in value if not isinstance(value, str) else (value,):
            if isinstance(text, str):
                from_text(text).close()
    try:
        made = _adapter(name).validate_python(value)
        replace(Settings(), **{name: made})
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise ConfigError(f"{where}: {name}={value!r} is not right: {wrong['msg'].rstrip('.')}.") from None
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    return made
