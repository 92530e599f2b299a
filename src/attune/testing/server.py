"""A loopback server that plays Playbacks: one thread, one event loop, keep-alive connections.

Knows HTTP and time, nothing of models. When it is closed, no thread, socket or timer of it is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from attune.errors import StateError
from attune.testing.http_wire import HttpRequest, take_request
from attune.testing.playback import Playback

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: closing sends RST instead of FIN
_NONSENSE = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_PATIENCE_S = 10.0

Answer = Callable[[HttpRequest], Playback]


class LoopbackServer:
    """Serves 127.0.0.1 from construction to `close()`. Its methods may be called from any thread but its own."""

    def __init__(self, answer: Answer, port: int = 0) -> None:
        self._answer = answer
        self._socket = _bind(port)
        self.port: int = self._socket.getsockname()[1]
        self._connections: set[_Connection] = set()
        self._arriving: set[asyncio.Task[Any]] = set()
        self._listening = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"scripted-provider-{self.port}", daemon=True)
        self._thread.start()
        self.listen()

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return len(self._connections)

    def listen(self) -> None:
        """Accept connections (again)."""
        self._ask(self._listen())

    def stop_listening(self) -> None:
        """Refuse connections and reset those that are open. The port stays ours."""
        self._ask(self._stop_listening())

    def close(self) -> None:
        """End everything. More than once is fine."""
        if self._loop.is_closed():
            return
        self._ask(self._stop_listening())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE_S)
        self._socket.close()
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _ask(self, work: Coroutine[Any, Any, None]) -> None:
        if self._loop.is_closed():
            work.close()
            raise StateError("The scripted provider is closed. Make a new one.")
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE_S)

    async def _listen(self) -> None:
        if not self._listening:
            self._socket.listen(1024)
            self._loop.add_reader(self._socket, self._accept)
            self._listening = True

    def _accept(self) -> None:
        # Not an asyncio.Server: one that is closed between accepting a connection and making its transport loses it.
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            accepted, _ = self._socket.accept()
            arriving = self._loop.create_task(self._loop.connect_accepted_socket(self._connect, accepted))
            self._arriving.add(arriving)
            arriving.add_done_callback(self._arriving.discard)

    async def _stop_listening(self) -> None:
        if not self._listening:
            return
        self._listening = False
        self._loop.remove_reader(self._socket)
        self._socket.close()
        self._socket = _bind(self.port)  # bound and not listening: the kernel refuses, and nobody else gets the port
        await asyncio.gather(*self._arriving, return_exceptions=True)
        for connection in tuple(self._connections):
            connection.reset()
        await asyncio.sleep(0)  # one turn of the loop, in which the transports end

    def _connect(self) -> _Connection:
        return _Connection(self._answer, self._connections)


def _bind(port: int) -> socket.socket:
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it, each stream would wait 40 ms
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", port))
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise StateError(
            f"Port {port} of 127.0.0.1 cannot be used ({error.strerror}). Choose another, or 0."
        ) from error
    return bound


class _Connection(asyncio.Protocol):
    """One connection: one request at a time, its frames played in order."""

    def __init__(self, answer: Answer, siblings: set[_Connection]) -> None:
        self._answer = answer
        self._siblings = siblings
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._playing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._siblings.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if self._timer is not None:
            self._timer.cancel()
        self._siblings.discard(self)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._playing:
            self._next()

    def reset(self) -> None:
        """End the connection with an RST."""
        if self._transport is not None:
            connected = self._transport.get_extra_info("socket")
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()

    def _next(self) -> None:
        while self._transport is not None and not self._transport.is_closing():
            try:
                request = take_request(self._buffer)
            except ValueError:
                self._transport.write(_NONSENSE)
                self._transport.close()
                return
            if request is None or not self._play(self._answer(request), 0):
                return

    def _play(self, playback: Playback, at: int) -> bool:
        """Send the frames from number `at` on; whether the next request may be taken now."""
        assert self._transport is not None
        self._playing = True
        for number in range(at, len(playback.frames)):
            wait_s, data = playback.frames[number]
            if wait_s > 0:
                self._timer = asyncio.get_running_loop().call_later(wait_s, self._resume, playback, number)
                return False
            self._transport.write(data)
        return self._end(playback)

    def _resume(self, playback: Playback, at: int) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(playback.frames[at][1])
        if self._play(playback, at + 1):
            self._next()

    def _end(self, playback: Playback) -> bool:
        assert self._transport is not None
        match playback.ending:
            case "keep":
                self._playing = False
                return True
            case "close":
                self._transport.close()
            case "reset":
                self.reset()
            case "hang":
                self._timer = asyncio.get_running_loop().call_later(playback.seconds, self._transport.close)
        return False
