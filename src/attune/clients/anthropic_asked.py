"""What binds a request to the Messages API to one account, or to the models that it names itself.

Read in anthropic 2.12 and in the API's pages of 2026-11: signed thinking is bound to the account that it was made in, and a
model drops, or refuses with a 400, what it cannot read of another's; files, containers and what server tools found are the
account's. Only kinds of blocks are looked at, never their texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attune.clients.asked import ACCOUNT, FREE, Binding, blocks_of

# MCP servers come with their credentials, which go nowhere that the caller did not send them.
_OF_ACCOUNT: Final = ("container", "mcp_servers", "fallback_credit_token", "user_profile_id")
# What is signed or encrypted for its account, or names something kept there. Every result of a server tool ends alike.
_SIGNED: Final = frozenset({
    "thinking", "redacted_thinking", "container_upload", "server_tool_use", "mcp_tool_use", "compaction", "fallback",
})  # fmt: skip
_PLAIN: Final = frozenset({"text", "tool_use", "tool_result", "image", "document", "search_result"})


def binding(body: Mapping[str, Any]) -> Binding:
    """See `RequestReader.binding`."""
    account = any(map(body.get, _OF_ACCOUNT)) or any(map(_is_bound, blocks_of(body)))
    if body.get("fallbacks"):
        return Binding(account=account, model=True)
    return ACCOUNT if account else FREE


def _is_bound(block: Mapping[str, Any]) -> bool:
    kind = block.get("type")
    if kind not in _PLAIN:
        return kind in _SIGNED or (isinstance(kind, str) and kind.endswith("_tool_result"))
    if kind in ("image", "document"):
        source = block.get("source")
        return isinstance(source, Mapping) and source.get("type") == "file"
    return False
