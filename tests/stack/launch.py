"""Starts the stack's programs on loopback, each in a folder of its own, and stops each by its process id.

A yard keeps what it started, and stops all of it in reverse when it closes. Ports are free ones of this moment; where
another process takes one in between, the program is started once more with others. What a program is configured to do is
the caller's affair: the defaults here are only what lets it start and answer.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from stack import programs

READY_S = 30.0  # two slow cores, shared
STOP_S = 10.0


@dataclass(slots=True)
class Running:
    """A program that answered: its ports by name, its folder, its log, and how long it took (seconds)."""

    name: str
    process: subprocess.Popen[bytes]
    ports: Mapping[str, int]
    folder: Path
    ready_s: float = 0.0

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def url(self, path: str = "", port: str = "http") -> str:
        return f"http://127.0.0.1:{self.ports[port]}{path}"

    def freeze(self) -> None:
        """It keeps its ports and answers nothing."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """As by an outage: no good-bye."""
        self.process.kill()
        self.process.wait(STOP_S)

    def stop(self) -> int:
        """Ask it to end, insist after a while; its exit status."""
        if self.process.poll() is None:
            self.thaw()
            self.process.terminate()
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode


@dataclass(slots=True)
class Yard:
    """Where programs run. `environ`: as it was before the walls, to find them; they themselves see little of it."""

    folder: Path
    environ: Mapping[str, str]
    started: list[Running] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for program in reversed(self.started):
            program.stop()

    def start(
        self,
        name: str,
        arguments: Callable[[Path, Mapping[str, int]], Sequence[str]],
        *,
        ports: Sequence[str] = ("http",),
        ready: Callable[[Running], bool],
        environ: Mapping[str, str] | None = None,
        at: Mapping[str, int] | None = None,
    ) -> Running:
        """Start a program and wait until it is ready. `at`: ports it must have, to come back where it was."""
        path = programs.find(name, self.environ)
        assert path is not None, f"{name} is not here: mark the test with needs({name!r})"
        for attempt in (1, 2, 3):
            folder = self.folder / f"{name}-{len(self.started)}-{attempt}"
            folder.mkdir(parents=True)
            taken = {port: (at or {}).get(port) or free_port() for port in ports}
            small = {"PATH": self.environ.get("PATH", ""), "HOME": str(folder), **(environ or {})}
            began = time.monotonic()
            with (folder / "log").open("wb") as log:
                process = subprocess.Popen(
                    [path, *arguments(folder, taken)],
                    cwd=folder,
                    env=small,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            running = Running(name, process, taken, folder)
            self.started.append(running)
            if _wait(running, ready, began):
                return running
            running.stop()
            if "address already in use" not in running.log:
                break
        raise AssertionError(f"{name} did not get ready in {READY_S:.0f} s:\n{running.log[-3000:]}")

    def otelcol(self, config: str, *, environ: Mapping[str, str] | None = None, ports: Sequence[str] = ()) -> Running:
        """A collector: `{name}` in the configuration is the port of that name, `{folder}` its folder; `health` is asked."""

        def arguments(folder: Path, taken: Mapping[str, int]) -> list[str]:
            text = config.replace("{folder}", str(folder))
            for port, number in taken.items():
                text = text.replace("{" + port + "}", str(number))
            return [f"--config={written(folder / 'config.yaml', text)}"]

        names = ("grpc", "http", "health", *ports)
        return self.start("otelcol", arguments, ports=names, ready=answers("/", "health"), environ=environ)

    def prometheus(
        self, config: str = "{}", *flags: str, oldest: bool = False, at: Mapping[str, int] | None = None
    ) -> Running:
        """A Prometheus that takes remote write and, unless it is the oldest, OTLP with exemplars."""
        own = [] if oldest else ["--web.enable-otlp-receiver"]

        def arguments(folder: Path, taken: Mapping[str, int]) -> list[str]:
            return [
                f"--config.file={written(folder / 'prometheus.yml', config)}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{taken['http']}",
                "--web.enable-remote-write-receiver",
                "--enable-feature=exemplar-storage",
                *own,
                *flags,
            ]

        return self.start("prometheus-oldest" if oldest else "prometheus", arguments, ready=answers("/-/ready"), at=at)

    def alertmanager(self, config: str, *, oldest: bool = False) -> Running:
        """An Alertmanager on its own, not in a cluster."""

        def arguments(folder: Path, taken: Mapping[str, int]) -> list[str]:
            return [
                f"--config.file={written(folder / 'alertmanager.yml', config)}",
                f"--storage.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{taken['http']}",
                "--cluster.listen-address=",
            ]

        return self.start("alertmanager-oldest" if oldest else "alertmanager", arguments, ready=answers("/-/ready"))

    def jaeger(self) -> Running:
        """A trace store in memory: OTLP in at `otlp_http` and `otlp_grpc`, queries at `http`."""
        flags = {
            "http": "query.http-server.host-port",
            "query_grpc": "query.grpc-server.host-port",
            "otlp_http": "collector.otlp.http.host-port",
            "otlp_grpc": "collector.otlp.grpc.host-port",
            "collector_http": "collector.http-server.host-port",
            "collector_grpc": "collector.grpc-server.host-port",
            "agent_http": "http-server.host-port",
            "compact": "processor.jaeger-compact.server-host-port",
            "binary": "processor.jaeger-binary.server-host-port",
            "zipkin": "processor.zipkin-compact.server-host-port",
            "admin": "admin.http.host-port",
        }

        def arguments(_folder: Path, taken: Mapping[str, int]) -> list[str]:
            return [f"--{flag}=127.0.0.1:{taken[port]}" for port, flag in flags.items()]

        # Its own queries are not traced: it would send them to a fixed port, and wait for an answer as it stops.
        quiet = {"SPAN_STORAGE_TYPE": "memory", "OTEL_TRACES_SAMPLER": "always_off"}
        return self.start("jaeger", arguments, ports=tuple(flags), ready=answers("/", "admin"), environ=quiet)

    def redis(self, *flags: str, at: Mapping[str, int] | None = None) -> Running:
        """A Redis that keeps nothing on disk."""

        def arguments(folder: Path, taken: Mapping[str, int]) -> list[str]:
            own = ["--port", str(taken["redis"]), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
            return [*own, "--appendonly", "no", *flags]

        return self.start("redis-server", arguments, ports=("redis",), ready=_pongs, at=at)

    def victoria_metrics(self, *flags: str) -> Running:
        """A VictoriaMetrics whose newest samples are visible at once."""

        def arguments(folder: Path, taken: Mapping[str, int]) -> list[str]:
            own = [f"-httpListenAddr=127.0.0.1:{taken['http']}", f"-storageDataPath={folder / 'data'}"]
            return [*own, "-search.latencyOffset=0s", *flags]

        return self.start("victoria-metrics", arguments, ready=answers("/health"))


def written(path: Path, text: str) -> Path:
    """The file with this text."""
    path.write_text(text, encoding="utf-8")
    return path


def free_port() -> int:
    """A port that nobody on loopback holds at this moment, for TCP.

    Below those that systems give to outgoing connections (from 32768 on): one of those may be taken again at once.
    """
    while True:
        port = secrets.choice(range(16_000, 32_000))
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


def answers(path: str, port: str = "http") -> Callable[[Running], bool]:
    """Ready means: a GET of this path is answered with a 200."""

    def asked(running: Running) -> bool:
        try:
            with urllib.request.urlopen(running.url(path, port), timeout=2) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.HTTPError):
            return False

    return asked


def _pongs(running: Running) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", running.ports["redis"]), timeout=2) as sock:
            sock.sendall(b"PING\r\n")
            return sock.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def _wait(running: Running, ready: Callable[[Running], bool], began: float) -> bool:
    while time.monotonic() - began < READY_S and running.process.poll() is None:
        if ready(running):
            running.ready_s = time.monotonic() - began
            return True
        time.sleep(0.02)
    return False
