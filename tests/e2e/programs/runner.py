"""A program on the anthropic SDK's own tool runner: a tool is called until the model has what it needs.

It knows nothing of attune.
"""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
from anthropic import beta_async_tool, beta_tool


@beta_tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"rain in {city}"


@beta_async_tool
async def tides(harbour: str) -> str:
    """The tides in a harbour."""
    return f"low water in {harbour}"


def _request(tool: Any, question: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}]
    return {"model": "claude-sonnet-5-5", "max_tokens": 200, "tools": [tool], "messages": messages}


def ask(number: int) -> list[str]:
    """Two runs, one of them streamed."""
    with anthropic.Anthropic(max_retries=1) as client:
        last = client.beta.messages.tool_runner(**_request(weather, f"City {number}?")).until_done()
        said = ["".join(block.text for block in last.content if block.type == "text")]
        for stream in client.beta.messages.tool_runner(**_request(weather, f"City {number}?"), stream=True):
            final = stream.get_final_message()
        said.append("".join(block.text for block in final.content if block.type == "text"))
    return said


async def later(number: int) -> list[str]:
    """One run, awaited."""
    async with anthropic.AsyncAnthropic(max_retries=1) as client:
        last = await client.beta.messages.tool_runner(**_request(tides, f"Harbour {number}?")).until_done()
    return ["".join(block.text for block in last.content if block.type == "text")]


def main(rounds: int = 4) -> list[str]:
    """What was said in the end, each time."""
    return [said for number in range(rounds) for said in (*ask(number), *asyncio.run(later(number)))]


if __name__ == "__main__":
    print(*main(), sep="\n")
