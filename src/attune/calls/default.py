"""The process's runtime: found, replaced, flushed, shut down. The one mutable thing at module level, with its lock.

`configure()` makes a new world and puts it here; decorated functions and guarded clients look it up at each call.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attune.calls.executor import Prompts
from attune.calls.runtime import Runtime
from attune.calls.settings import LIVE_KEYS, Live, from_code
from attune.errors import ConfigError
from attune.models.call import Target
from attune.models.registry import ModelInfo

_default: list[Runtime] = []
_lock = threading.Lock()


def configure(**words: Any) -> Runtime:
    """Replace the process's runtime by a new one with these settings; the words are the fields of `settings.Settings` and `settings.Live`.

    ConfigError for an unknown word or a wrong value. The old runtime is flushed and shut down. Thread-safe.
    """
    runtime = build(**words)
    with _lock:
        old, _default[:] = list(_default), [runtime]
        _end_at_exit()
    for each in old:
        each.shutdown()
    return runtime


def build(**words: Any) -> Runtime:
    """A runtime that nothing else uses, for `runtime=` arguments."""
    live = _live({name: words.pop(name) for name in LIVE_KEYS if name in words})
    settings = from_code(words, os.environ, _here())
    return Runtime(settings, live, executor=Prompts())


def _here() -> Path:
    try:
        return Path.cwd()
    except OSError:  # removed under the process's feet: no file then, and no reason to fail
        return Path()


def current() -> Runtime:
    """The process's runtime, built on first use from environment and file."""
    try:
        return _default[0]
    except IndexError:
        with _lock:
            if not _default:
                _default.append(build())
                _end_at_exit()
            return _default[0]


def _end_at_exit() -> None:
    """See to the last second's rows, once, whichever way the runtime came."""
    atexit.unregister(_end)
    atexit.register(_end)


def _end() -> None:
    shutdown(1.0)


def flush(timeout_s: float = 5.0) -> bool:
    """Write what is known to the host store now. Whether it was done in time; without a runtime there is nothing to do."""
    return all(runtime.flush(timeout_s) for runtime in _default)


def shutdown(timeout_s: float = 5.0) -> None:
    """Flush and stop the background thread. A later call starts anew."""
    with _lock:
        old, _default[:] = list(_default), []
    for runtime in old:
        runtime.shutdown(timeout_s)


def _live(words: dict[str, Any]) -> Live:
    for name, kind, wanted in (
        ("candidates", (str, Target), "model ids or Targets"),
        ("models", (ModelInfo,), "ModelInfos"),
    ):
        value = words.get(name)
        if value is None:
            words.pop(name, None)
            continue
        fits = isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(v, kind) for v in value)
        if not fits:
            raise ConfigError(f"configure({name}={value!r}): {name} must be a list of {wanted}.")
        words[name] = tuple(value)
    for name in ("readers", "dialects"):
        if words.get(name) is not None:
            words[name] = _several(name, words[name])
    for reader in words.get("readers") or ():
        _check_reader(reader)
    if (clients := words.get("clients")) is not None and not isinstance(clients, Mapping):
        raise ConfigError(f"configure(clients={clients!r}): clients must map provider names to clients.")
    for name in ("on_event", "dice"):
        if (value := words.get(name)) is not None and not callable(value):
            raise ConfigError(f"configure({name}={value!r}): {name} must be callable.")
    return Live(**{name: value for name, value in words.items() if value is not None or name == "readers"})


def _check_reader(reader: Any) -> None:
    if isinstance(reader, str):
        from attune.telemetry.readers import from_text

        from_text(reader).close()
    elif not (callable(getattr(reader, "poll", None)) and isinstance(getattr(reader, "name", None), str)):
        raise ConfigError(f"configure(readers=[{reader!r}]): a reader has a name and poll(), or is a text: file:PATH.")


def _several(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigError(f"configure({name}={value!r}): {name} must be a list.")
    return tuple(value)
