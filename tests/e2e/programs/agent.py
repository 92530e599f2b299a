"""A pydantic-ai program: an agent with a tool and a typed answer, run by itself and in a stream.

It knows nothing of attune.
"""

from __future__ import annotations

import asyncio

from pydantic import BaseModel
from pydantic_ai import Agent


class Advice(BaseModel):
    """What the agent has to say."""

    city: str
    take_an_umbrella: bool


def agent(model: str) -> Agent[None, Advice]:
    """An agent that asks about the weather before it speaks."""
    advisor = Agent(model, output_type=Advice, instructions="Say whether to take an umbrella.")

    @advisor.tool_plain
    def weather(city: str) -> str:
        """The weather in a city."""
        return f"rain in {city}"

    return advisor


async def _ask(model: str, rounds: int) -> list[Advice]:
    advisor, said = agent(model), []
    for number in range(rounds):
        said.append((await advisor.run(f"City {number}?")).output)
        async with advisor.run_stream(f"City {number}, again?") as streamed:
            said.append(await streamed.get_output())
    return said


def main(rounds: int = 4) -> list[Advice]:
    """All that the agents of both makers said."""
    models = ("anthropic:claude-sonnet-5-5", "openai-chat:gpt-6.1-terra", "openai-responses:gpt-6.1-terra")
    return [advice for model in models for advice in asyncio.run(_ask(model, rounds))]


if __name__ == "__main__":
    print(*main(), sep="\n")
