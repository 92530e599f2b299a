"""A LangChain program: a chain of prompt, chat model and parser, asked in every way that a chain can be asked.

It knows nothing of attune. The models are named as anybody would; where they are comes from the environment, as always.
"""

from __future__ import annotations

import asyncio

from langchain_anthropic import ChatAnthropic
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

PROMPT = ChatPromptTemplate.from_messages([("system", "You summarise tickets."), ("user", "Ticket {number}")])


@tool
def lookup(number: int) -> str:
    """Find the customer of a ticket."""
    return f"customer of {number}"


def ask(model: ChatAnthropic | ChatOpenAI, rounds: int) -> list[str]:
    """Every way of asking, so many times."""
    chain = PROMPT | model | StrOutputParser()
    answers: list[str] = []
    for number in range(rounds):
        ticket = {"number": number}
        answers.append(chain.invoke(ticket))
        answers += chain.batch([ticket, ticket])
        answers.append("".join(chain.stream(ticket)))
        called = model.bind_tools([lookup]).invoke(f"Who wrote ticket {number}?")
        answers.append(str(called.tool_calls or called.text))
    return [*answers, *asyncio.run(_later(chain, rounds))]


async def _later(chain: Runnable[dict[str, int], str], rounds: int) -> list[str]:
    tickets = [{"number": number} for number in range(rounds)]
    answers = await asyncio.gather(*(chain.ainvoke(ticket) for ticket in tickets))
    for ticket in tickets:
        answers.append("".join([piece async for piece in chain.astream(ticket)]))
    return answers


def main(rounds: int = 4) -> list[str]:
    """All answers of both makers' models."""
    claude = ChatAnthropic(model="claude-sonnet-5-5", max_tokens=60, max_retries=1)
    gpt = ChatOpenAI(model="gpt-6.1-terra", max_retries=1)
    return [*ask(claude, rounds), *ask(gpt, rounds)]


if __name__ == "__main__":
    print(*main(), sep="\n")
