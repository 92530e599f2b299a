"""What the tests of a call share: a sandbox, a scripted provider, and clients in front of it."""

from __future__ import annotations

from calls.ways import bench, clients, every_way, ledger, sandbox, some_way, stream_way, way

__all__ = ["bench", "clients", "every_way", "ledger", "sandbox", "some_way", "stream_way", "way"]
