"""Starts outside programs on loopback, each in a folder of its own, and stops each by its process id.

What a program is told is the caller's affair. They run at a low priority, so that what is measured beside them is
disturbed little, and apart from the terminal's Ctrl-C: whoever started them stops them.
"""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from attune.errors import StateError

_READY_S: Final = 30.0
_STOP_S: Final = 10.0
_TAKEN: Final = "address already in use"


class PortTaken(StateError):  # noqa: N818 - says what happened, as its siblings in errors.py do
    """Another process took a port between the choice and the start; other ports will do."""


@dataclass(frozen=True, slots=True)
class Program:
    """One that answers: its name, its address for people (`http://127.0.0.1:PORT`), and how long it took to start."""

    name: str
    url: str
    ready_s: float
    process: subprocess.Popen[bytes]


class Programs:
    """Those that were started; all of them stop, the last first, when the `with` block ends. One thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.started: list[Program] = []

    def start(
        self, name: str, command: Sequence[str | Path], *, url: str, ready: str, environ: Mapping[str, str]
    ) -> Program:
        """Start it and wait until a GET of `ready` is answered with a 200. StateError with its last words if it is not."""
        folder = self._folder / name
        folder.mkdir(parents=True)
        began = time.monotonic()
        gently = [nice, "-n", "5"] if (nice := shutil.which("nice")) else []
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - a program that the person has, with arguments of our own
                [*gently, *command], cwd=folder, env={"HOME": str(folder), **environ}, process_group=0,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        program = Program(name, url, 0.0, process)
        self.started.append(program)
        while process.poll() is None and time.monotonic() - began < _READY_S:
            if _answers(ready):
                program = self.started[-1] = Program(name, url, time.monotonic() - began, process)
                return program
            time.sleep(0.05)
        said = (folder / "log").read_text("utf-8", "replace")
        lines = said.strip().splitlines() or ["it said nothing"]
        why = [
            line for line in lines if "error" in line.lower() or _TAKEN in line
        ] or lines  # after an error many say good-bye
        raise (PortTaken if _TAKEN in said else StateError)(f"{name} ({command[0]}) does not start: {why[-1][:500]}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for program in self.started:
                program.process.terminate()
            until = time.monotonic() + _STOP_S
            for program in self.started:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    program.process.wait(max(0.0, until - time.monotonic()))
        finally:  # also after a second Ctrl-C
            for program in self.started:
                program.process.kill()
                program.process.wait()


def free_ports(names: Iterable[str]) -> dict[str, int]:
    """A port on loopback for each name, all different, and free at this moment."""
    with contextlib.ExitStack() as held:
        sockets = {name: held.enter_context(socket.socket()) for name in names}
        for sock in sockets.values():
            sock.bind(("127.0.0.1", 0))
        return {name: int(sock.getsockname()[1]) for name, sock in sockets.items()}


def _answers(url: str) -> bool:
    place, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(place, timeout=2)
    try:
        connection.request("GET", f"/{path}")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
