"""Growing files followed by inode: whole lines or frames since an offset, through rotation, torn tails and restarts.

A line without its newline, or a frame longer than what is there, is waited for. A renamed file is finished under its new
name, or through the descriptor held on it. Auto-detects JSON lines (first byte `{`) and frames of a 4-byte big-endian
length each; a frame may be zstd where a module for it is there. Knows nothing of what the bytes mean.
"""

from __future__ import annotations

import glob
import importlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from attune.errors import ConfigError

MAX_RECORD: Final = 64 * 1024 * 1024
_CHUNK: Final = 4 * 1024 * 1024
_HELD: Final = 32
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_SUFFIXES: Final = (".jsonl", ".json", ".otlp", ".pb", ".proto", ".zst")
_OTHER_SIGNALS: Final = ("metrics", "logs")


class Inode(NamedTuple):
    """A file, whatever its name is now."""

    device: int
    number: int


@dataclass(slots=True)
class Tail:
    """Follows a file, a directory or a glob. `offsets` is where each inode was read to. Not thread-safe."""

    path: str
    offsets: dict[Inode, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    _held: dict[Inode, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a path that can never lead anywhere."""
        try:
            self.path = str(Path(self.path).expanduser()) if self.path and "\0" not in self.path else ""
        except RuntimeError:  # no such user, or no home
            self.path = ""
        if not self.path:
            raise ConfigError("That is no path. Name a file, a directory or a glob of OTLP files.")
        parent = Path(re.split(r"[*?\[]", self.path, maxsplit=1)[0] or ".")
        if not parent.exists() and not parent.absolute().parent.is_dir():
            raise ConfigError(f"No such file or directory: {self.path!r}. Create its directory, or correct the path.")

    def records(self) -> Iterator[tuple[bytes, bool]]:
        """Each whole record since the offsets, and whether it is JSON. Offsets move as records are taken."""
        found = self._find()
        for inode in [inode for inode in self._held if inode not in found]:
            yield from self._read(inode, self._held[inode], gone=True)
            self._let_go(inode)
            self.offsets.pop(inode, None)
        for inode, path in found.items():
            descriptor = self._open(inode, path)
            if descriptor is not None:
                yield from self._read(inode, descriptor, gone=False)
        for inode in [inode for inode in self.offsets if inode not in found]:
            del self.offsets[inode]

    def close(self) -> None:
        """Let go of every file."""
        for inode in list(self._held):
            self._let_go(inode)

    def _find(self) -> dict[Inode, str]:
        """Regular files of the path by inode, the longest unchanged first."""
        found: list[tuple[int, str, Inode]] = []
        for name in self._names():
            try:
                about = Path(name).stat()
            except OSError:
                continue
            if stat.S_ISREG(about.st_mode):
                found.append((about.st_mtime_ns, name, Inode(about.st_dev, about.st_ino)))
        return {inode: name for _, name, inode in sorted(found)}

    def _names(self) -> list[str]:
        path = Path(self.path)
        if path.is_dir():
            entries = [entry for entry in path.iterdir() if entry.suffix in _SUFFIXES]
            return [str(entry) for entry in entries if not entry.name.startswith(_OTHER_SIGNALS)]
        if glob.has_magic(self.path):
            return glob.glob(self.path)  # noqa: PTH207 - Path.glob takes no absolute pattern
        rotated = re.compile(re.escape(path.stem) + r"-\d[\dT.\-]*" + re.escape(path.suffix))
        try:
            siblings = [entry for entry in path.parent.iterdir() if rotated.fullmatch(entry.name)]
        except OSError:
            siblings = []
        return [self.path, *map(str, siblings)]

    def _open(self, inode: Inode, path: str) -> int | None:
        if inode in self._held:
            return self._held[inode]
        try:
            size = Path(path).stat().st_size
            if self.offsets.get(inode) == size:
                return None  # nothing new; no descriptor is spent on it
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            self.warnings.append(f"{Path(path).name}: {error.strerror}")
            return None
        if len(self._held) >= _HELD:
            self._let_go(next(iter(self._held)))
        self._held[inode] = descriptor
        return descriptor

    def _let_go(self, inode: Inode) -> None:
        os.close(self._held.pop(inode))

    def _read(self, inode: Inode, descriptor: int, *, gone: bool) -> Iterator[tuple[bytes, bool]]:
        size = os.fstat(descriptor).st_size
        offset = self.offsets.setdefault(inode, 0)
        if size < offset:
            self.warnings.append("a file became shorter than what was read of it, and is read anew")
            offset = self.offsets[inode] = 0
        if size == offset:
            return
        head = os.pread(descriptor, 8, 0)
        if head.startswith(_ZSTD):
            self.warnings.append(
                "a zstd stream cannot be followed; let the Collector write uncompressed or framed files"
            )
            self.offsets[inode] = size
            return
        split = self._lines if head[:1] in (b"{", b"\n", b" ") else self._frames
        yield from split(inode, descriptor, gone)

    def _lines(self, inode: Inode, descriptor: int, gone: bool) -> Iterator[tuple[bytes, bool]]:
        rest = b""
        at = self.offsets[inode]
        while chunk := os.pread(descriptor, _CHUNK, at):
            at += len(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self.offsets[inode] += len(line) + 1
                if line.strip():
                    yield line, True
            if len(rest) > MAX_RECORD:
                self.warnings.append("a line is longer than 64 MiB, and is left out")
                self.offsets[inode] = at
                rest = b""
        if gone and rest.strip():  # its writer let go of it without a newline: nothing more will come
            yield rest, True

    def _frames(self, inode: Inode, descriptor: int, gone: bool) -> Iterator[tuple[bytes, bool]]:  # noqa: ARG002 - as _lines
        while len(head := os.pread(descriptor, 4, self.offsets[inode])) == 4:
            length = int.from_bytes(head, "big")
            if length > MAX_RECORD:
                self.warnings.append("a file is neither OTLP JSON lines nor framed OTLP, and is left out")
                self.offsets[inode] = os.fstat(descriptor).st_size
                return
            body = os.pread(descriptor, length, self.offsets[inode] + 4)
            if len(body) < length:
                return
            self.offsets[inode] += 4 + length
            if body.startswith(_ZSTD):
                unpacked = self._unpack(body)
                if unpacked is None:
                    continue
                body = unpacked
            yield body, body.startswith(b"{")

    def _unpack(self, body: bytes) -> bytes | None:
        unpack = _zstd()
        if unpack is None:
            self.warnings.append("a zstd frame is left out: install `zstandard` to read it")
            return None
        try:
            return unpack(body)
        except Exception as error:  # noqa: BLE001 - whichever module it is, its errors are its own
            self.warnings.append(f"a zstd frame cannot be unpacked: {type(error).__name__}")
            return None


def _zstd() -> Callable[[bytes], bytes] | None:
    try:
        module = importlib.import_module("zstandard")
    except ImportError:
        return None

    def unpack(body: bytes) -> bytes:
        unpacked: bytes = module.ZstdDecompressor().decompress(body, max_output_size=MAX_RECORD)
        return unpacked

    return unpack
