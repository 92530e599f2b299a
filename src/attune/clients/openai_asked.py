"""What binds a request of OpenAI's APIs to one account, or to the models that it names itself.

Bound is what refers to something that only this account has: earlier answers, conversations, files, containers, stores,
prompts, sealed reasoning. A cache key binds nothing: it makes an answer cheaper, and no other one impossible.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attune.clients.asked import ACCOUNT, FREE, Binding, blocks_of

_EARLIER: Final = ("previous_response_id", "conversation")
_HELD: Final = ("file_id", "file_ids", "vector_store_ids", "container", "connector_id", "container_id")


def binding(body: Mapping[str, Any]) -> Binding:
    """What binds this request."""
    if body.get("models"):  # resellers' own fallbacks, in `extra_body`
        return Binding(account=_bound(body), model=True)
    return ACCOUNT if _bound(body) else FREE


def _bound(body: Mapping[str, Any]) -> bool:
    if any(body.get(name) for name in _EARLIER) or isinstance(
        body.get("prompt"), Mapping
    ):  # a text only in Completions
        return True
    tools = body.get("tools")
    if isinstance(tools, (list, tuple)) and any(_holds(tool) for tool in tools if isinstance(tool, Mapping)):
        return True
    return any(_refers(block) for block in blocks_of(body))


def _holds(tool: Mapping[str, Any]) -> bool:
    """Whether a tool works on what the account has; a container that is yet to be made is no such thing.

    An MCP server comes with credentials, which go nowhere that the caller did not send them.
    """
    if tool.get("type") == "mcp":
        return True
    for name in _HELD:
        value = tool.get(name)
        if isinstance(value, Mapping):
            value = next((value.get(inner) for inner in _HELD if value.get(inner)), None)
        if value:
            return True
    return False


def _refers(block: Mapping[str, Any]) -> bool:
    """Whether a block of a message, or an item of the input, is known to this account alone."""
    if block.get("type") == "item_reference" or block.get("encrypted_content"):
        return True
    if any(block.get(name) for name in _HELD):
        return True
    parts = (block.get("file"), block.get("audio"))  # of a chat: a file by its id, an earlier answer's voice by its id
    return any(isinstance(part, Mapping) and (part.get("file_id") or part.get("id")) for part in parts)
