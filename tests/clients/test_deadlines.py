"""The time-outs that reach the wire under a deadline: the caller's own, part by part, and none over what remains."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest
from calls.ways import BODY, HAIKU
from clients.uses import http_of

import attune
from attune.testing import Sandbox

MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": HAIKU, "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "hi"}], "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 1},
}  # fmt: skip
PARTS = ("connect", "read", "write", "pool")


@pytest.mark.parametrize(
    ("client_s", "call", "deadline_s", "sent"),
    [
        (None, {}, 60, (60, 60, 60, 60)),
        (20.0, {}, 7, (7, 7, 7, 7)),
        (20.0, {}, 70, (20, 20, 20, 20)),
        (20.0, {"timeout": 3}, 7, (3, 3, 3, 3)),
        (20.0, {"timeout": None}, 7, (7, 7, 7, 7)),
        (anthropic.Timeout(20.0, connect=5.0), {}, 60, (5, 20, 20, 20)),
        (anthropic.Timeout(600.0, connect=5.0), {}, 60, (5, 60, 60, 60)),
        (anthropic.Timeout(600.0, connect=5.0), {}, 2, (2, 2, 2, 2)),
        (anthropic.Timeout(None, connect=5.0), {}, 60, (5, 60, 60, 60)),
        (20.0, {"timeout": anthropic.Timeout(9.0, connect=2.0)}, 60, (2, 9, 9, 9)),
        (20.0, {"timeout": anthropic.Timeout(9.0, connect=2.0)}, None, (2, 9, 9, 9)),
    ],
    ids=str,
)
def test_each_part_of_a_time_out_is_the_smaller_of_the_caller_s_and_what_remains(
    attune_sandbox: Sandbox, client_s: Any, call: Any, deadline_s: Any, sent: Any
):
    """A connection that is given 5 s is not given 60 because an answer may take as long."""
    http = http_of(anthropic)
    seen: list[Any] = []
    transport = http.MockTransport(lambda request: seen.append(request) or http.Response(200, json=MESSAGE))
    with http.Client(transport=transport) as pool:
        bare = anthropic.Anthropic(api_key="k", http_client=pool, timeout=client_s)
        with attune.scope(timeout_s=deadline_s):
            attune.wrap(bare).messages.create(model=HAIKU, **BODY, **call)
    assert tuple(seen[0].extensions["timeout"][part] for part in PARTS) == sent
