"""Runs a program that knows nothing of attune, with every client of its process guarded, and writes down what happened.

    python guarded.py PROGRAM RECORDS

PROGRAM is run as `python PROGRAM` would; RECORDS is a file that gets one JSON object a call.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import attune

# the model that a program names stays a candidate, and is the cheaper of the two
RULES = {
    "claude-sonnet-*": {"workflow": "support", "candidates": ["claude-opus-5-5"]},
    "gpt-6.1-terra": {"workflow": "support", "candidates": ["gpt-6.1-sol"]},
}

program, records = sys.argv[1:]
attune.configure(reroute=RULES, state="memory", seed=1)
attune.instrument()
with attune.capture() as calls:
    runpy.run_path(program, run_name="__main__")
with Path(records).open("w", encoding="utf-8") as file:
    for call in calls:
        tried = [(attempt.model, attempt.outcome, attempt.error_type) for attempt in call.attempts]
        print(json.dumps({"workflow": call.workflow, "outcome": call.outcome, "tried": tried}), file=file)
attune.uninstrument()
