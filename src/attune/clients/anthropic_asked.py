"""What binds a request to the Messages API to one account, or to the models that it names itself.

Read in anthropic 2.12 and in the API's pages of 2026-11: signed thinking is bound to the account that it was made in, and a
model drops, or refuses with a 400, what it cannot read of another's; files, containers and what server tools found are the
account's. Only kinds of blocks are looked at, never their texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from attune.clients.asked import ACCOUNT, FREE, Binding

# MCP servers come with their credentials, which go nowhere that the caller did not send them. A thread is kept where its
# first answer came from.
_OF_ACCOUNT: Final = ("container", "mcp_servers", "fallback_credit_token", "user_profile_id", "thread")
# The SDK sends these parameters beside the body; one that was left out is there as a false value.
_OF_ACCOUNT_BESIDE: Final = frozenset({"anthropic-user-profile-id", "anthropic-workspace-id"})
# What is signed or encrypted for its account, or names something kept there. Every result of a server tool ends alike.
_SIGNED: Final = frozenset({
    "thinking", "redacted_thinking", "container_upload", "server_tool_use", "mcp_tool_use", "compaction", "fallback",
})  # fmt: skip
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_PLAIN: Final = frozenset({"text", "tool_use", "search_result"})  # the most of a body: one look and no more


def binding(body: Mapping[str, Any], headers: Mapping[str, Any] = _NOTHING) -> Binding:
    """See `RequestReader.binding`. `headers` are those of this request alone."""
    account = any(map(body.get, _OF_ACCOUNT)) or _refers(body.get("messages")) or _names(headers)
    if body.get("fallbacks"):
        return Binding(account=account, model=True)
    return ACCOUNT if account else FREE


def _names(headers: Mapping[str, Any]) -> bool:
    """Whether a header names something of the account."""
    return any(value and name.lower() in _OF_ACCOUNT_BESIDE for name, value in headers.items())


def _refers(messages: Any) -> bool:
    """Whether a block refers to what only the account has; the latest are looked at first, as the likeliest."""
    if not isinstance(messages, (list, tuple)):
        return False
    for message in reversed(messages):
        content = message.get("content") if isinstance(message, dict) else None
        if type(content) is list and _any_bound(content):
            return True
    return False


def _any_bound(blocks: list[Any]) -> bool:
    for block in blocks:
        if type(block) is dict and (kind := block.get("type")) not in _PLAIN and _is_bound(kind, block):
            return True
    return False


def _is_bound(kind: Any, block: Mapping[str, Any]) -> bool:
    if kind == "tool_result":
        return type(content := block.get("content")) is list and _any_bound(content)
    if kind in ("image", "document"):
        source = block.get("source")
        return isinstance(source, dict) and source.get("type") == "file"
    return kind in _SIGNED or (isinstance(kind, str) and kind.endswith("_tool_result"))
