"""Targets, completed: what the catalogue knows of a model, and the same model at the other clients of an SDK.

What the user said of a target always stays. Which of them is asked is the router's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from attune.clients.dialect import Dialect, Instrumentable
from attune.models.call import Target
from attune.models.registry import Catalogue


class Speakers(Protocol):
    """What knows whose a client is."""

    def dialect_of(self, client: Any) -> Dialect | None:
        """The dialect that speaks this client."""
        ...


def completed(catalogue: Catalogue, target: Target, endpoint: str = "") -> Target:
    """A target with what the catalogue knows of its model; what the user said stays."""
    info = None
    if target.alias and target.model in target.alias:  # a cloud's price may hang on more of its id
        info = catalogue.find(target.alias, target.provider)
    info = info or catalogue.find(target.model, target.provider) or catalogue.find(target.model)
    return replace(
        target,
        endpoint=target.endpoint or endpoint,
        tier=target.tier or (info.tier if info else None),
        price=target.price or (info.price if info else None),
        context_window=target.context_window or (info.context_window if info else None),
    )


def twins(speakers: Speakers, target: Target, clients: Sequence[Any], home: Dialect) -> list[Target]:
    """The same id at other clients. A client that reaches another provider (Azure, beside OpenAI) is that provider's."""
    made = []
    for client in clients:
        there = speakers.dialect_of(client) or home
        provider = there.provider if target.provider == home.provider else target.provider
        made.append(replace(target, client=client, provider=provider, endpoint=there.endpoint(client)))
    return made


def kin(speakers: Speakers, client: Any, home: Dialect) -> bool:
    """Whether a request of one dialect can be made at a client: its own, or that of a dialect with the same seams."""
    there = speakers.dialect_of(client)
    if home.speaks(client) or isinstance(there, type(home)):
        return True
    if there is None or isinstance(home, type(there)):
        return there is not None
    return isinstance(home, Instrumentable) and isinstance(there, Instrumentable) and home.seams == there.seams
