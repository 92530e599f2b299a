"""The file that the auth strategy lives in: where it is, how it is read without trust, how it is replaced whole.

One of the marked exceptions to the purity of `models`. Knows bytes, modes and names; what the bytes mean is
`auth_strategy.py`'s.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from attune.errors import StateError

FILE_NAME: Final = "auth_strategy.json"
LARGEST: Final = 1_000_000  # bytes; a strategy is under one kilobyte, so more than this is some other file


def locate() -> Path:
    """Where the strategy is kept now: ATTUNE_HOME if it is set, else `~/.attune`. Read at each call."""
    folder = os.environ.get("ATTUNE_HOME") or "~/.attune"
    return Path(os.path.expanduser(folder)) / FILE_NAME  # noqa: PTH111 - where no home is known, "~" stays and nothing raises


def is_there(path: Path) -> bool:
    """Whether something has that name, a dangling link included."""
    return os.path.lexists(path)


def backup_of(path: Path) -> Path:
    """The name that a file is kept under when another takes its place."""
    return path.with_name(path.name + ".bak")


def read(path: Path) -> bytes:
    """All of a regular file of at most 1 MB; a link is followed. Raises OSError for anything else, and never waits."""
    no_wait = getattr(os, "O_NONBLOCK", 0)  # opening a FIFO would else hang until somebody writes
    handle = os.open(path, os.O_RDONLY | no_wait | getattr(os, "O_CLOEXEC", 0))
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError("it is not a regular file")
        parts, size = [], 0
        while part := os.read(handle, LARGEST + 1 - size):
            parts.append(part)
            size += len(part)
        if size > LARGEST:
            raise OSError("it is larger than 1 MB")
        return b"".join(parts)
    finally:
        os.close(handle)


def replace(path: Path, content: bytes, *, keep: bool) -> None:
    """Put new content in a file's place, whole or not at all: mode 0600, in a directory made with mode 0700.

    A link is replaced, not written through. `keep`: what was there stays as `.bak`. Raises StateError if the file cannot
    be written; what was there is then still there, at worst under the name of its `.bak`.
    """
    import tempfile

    temporary = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600 by its promise
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if keep:
            set_aside(path)
        temporary.replace(path)
        _settle(path.parent)
    except OSError as error:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()
        raise StateError(
            f"{path} could not be written ({error.strerror or error}). Check the directory, or set ATTUNE_HOME."
        ) from error


def set_aside(path: Path) -> Path | None:
    """Keep what is at a path as `.bak`, in place of an older one; None if there is nothing. Raises OSError."""
    kept = backup_of(path)
    try:
        path.replace(kept)
    except FileNotFoundError:
        return None
    return kept


def _settle(folder: Path) -> None:
    """Make the new name last through a power cut, where the system lets a directory be synced."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
