"""The traffic: which calls are made, in which order, by which kind of client. Fixed by the seed alone.

Knows three workflows and what each asks for; knows no client, no model and nothing of what is measured.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Literal

Kind = Literal["sync", "sync stream", "async", "async stream"]
KINDS: Final[tuple[Kind, ...]] = ("sync", "async", "sync stream", "async stream")
_WEIGHTS: Final = (40, 30, 15, 15)  # streams cost the SDK twice the work of plain calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """One kind of work: its cell, the success it needs (0..1), its share of the traffic, and a prompt's text."""

    name: str
    stage: str
    floor: float
    share: int
    text: str

    @property
    def cell(self) -> str:
        """As it is written in the figures."""
        return f"{self.name}/{self.stage}"


WORKFLOWS: Final = (
    Workflow(name="support", stage="triage", floor=0.8, share=31, text="Which team is this ticket for? Name one."),
    Workflow(name="code-review", stage="analysis", floor=0.8, share=55, text="What may go wrong with this change?"),
    Workflow(name="research", stage="synthesis", floor=0.7, share=14, text="What do these sources agree on, and why?"),
)
_MATERIAL: Final = "A paragraph of material that the question is about, as long as such paragraphs usually are. "


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One call to make. `expected`: the answer must hold it; None: the scripted provider marks good answers itself."""

    index: int
    workflow: Workflow
    kind: Kind
    prompt: str
    expected: str | None = None

    def judge(self, message: Any) -> bool:
        """Whether an answer (a Message of the SDK) is good."""
        text = "".join(getattr(block, "text", "") for block in message.content)
        return text.startswith("GOOD") if self.expected is None else self.expected in text


def scripted_tasks(calls: int, seed: int) -> list[Task]:
    """So many calls, mixed. The topic in a prompt tells the scripted provider how hard the question is."""
    dice = Random(f"traffic/{seed}")
    return [
        Task(
            index=index,
            workflow=workflow,
            kind=dice.choices(KINDS, _WEIGHTS)[0],
            prompt=f"[topic:{workflow.name}] No. {index}. {workflow.text}\n" + _MATERIAL * 12,
        )
        for index, workflow in enumerate(_mixed(calls, dice))
    ]


def real_tasks(calls: int, seed: int) -> list[Task]:
    """Questions for real models, each with an answer that can be checked: copying, multiplying, reckoning."""
    dice = Random(f"live/{seed}")
    return [_real(index, workflow, dice) for index, workflow in enumerate(_mixed(calls, dice))]


def _mixed(calls: int, dice: Random) -> Iterator[Workflow]:
    """The workflows in their shares: exact over every hundred calls, shuffled within."""
    hundred = [workflow for workflow in WORKFLOWS for _ in range(workflow.share)]
    rounds = (dice.sample(hundred, len(hundred)) for _ in itertools.count())
    return itertools.islice(itertools.chain.from_iterable(rounds), calls)


def _real(index: int, workflow: Workflow, dice: Random) -> Task:
    a, b, c = (dice.randrange(12, 99) for _ in range(3))
    question, answer = {
        "support": (f"Which of these numbers is the largest: {a}, {100 + b}, {c}?", 100 + b),
        "code-review": (f"What is {a} * {b}?", a * b),
        "research": (f"What is ({a} * {b} + {c}) modulo 97, plus {c} * {b}?", (a * b + c) % 97 + c * b),
    }[workflow.name]
    prompt = f"{question} Answer with the number alone, without thousands separators."
    kind = dice.choices(KINDS, _WEIGHTS)[0]
    return Task(index=index, workflow=workflow, kind=kind, prompt=prompt, expected=str(answer))
