"""The Messages API where a cloud sells it: the anthropic SDK's clients of Amazon Bedrock, Google Vertex AI and Microsoft
Foundry.

They take the same requests at the same seam, and make the cloud's own address, signature and events of them after it: so
only whose clients they are is said here. Ids are the cloud's own, and depend on region and account: no tier defaults.
Anthropic's own platform on AWS and on Google Cloud has Anthropic's ids, and is `anthropic.py`'s. No cloud's SDK is known.
"""

from __future__ import annotations

from typing import Any

from attune.clients.anthropic import AnthropicDialect


class AnthropicCloudDialect(AnthropicDialect):
    """What the clouds have in common. A request of one cloud's client can be made at any other's, and at Anthropic's.

    Foundry's clients are subclasses of Anthropic's, so the clouds are asked first whose a client is.
    """

    def native_span(self, client: Any) -> bool:
        """As Anthropic's; but who calls a cloud's model inside a function may well use the cloud's own SDK."""
        return client is not None and super().native_span(client)

    def native_metrics(self, client: Any) -> bool:
        """Likewise."""
        return client is not None and super().native_metrics(client)


class BedrockDialect(AnthropicCloudDialect):
    """Amazon Bedrock, by InvokeModel or by its newer endpoint, Mantle, which has Anthropic's own paths."""

    name = "anthropic bedrock"
    provider = "bedrock"
    own_ids = True  # "anthropic.claude-…", with a region or "global." before it, or an ARN
    clients = frozenset({
        "AnthropicBedrock", "AsyncAnthropicBedrock", "AnthropicBedrockMantle", "AsyncAnthropicBedrockMantle",
    })  # fmt: skip


class VertexDialect(AnthropicCloudDialect):
    """Google Vertex AI."""

    name = "anthropic vertex"
    provider = "vertex"
    clients = frozenset({"AnthropicVertex", "AsyncAnthropicVertex"})


class FoundryDialect(AnthropicCloudDialect):
    """Microsoft Foundry. A model there is a deployment, named like the model unless its owner named it otherwise."""

    name = "anthropic foundry"
    provider = "foundry"
    clients = frozenset({"AnthropicFoundry", "AsyncAnthropicFoundry"})
