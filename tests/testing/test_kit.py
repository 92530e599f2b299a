"""The kit's front: every name is there, and asking for one loads no more than it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import attune.testing as kit


def test_every_name_resolves_and_no_other():
    assert all(getattr(kit, name) is not None for name in kit.__all__)
    assert set(kit._HOMES) == set(kit.__all__)
    with pytest.raises(AttributeError, match="no attribute 'frobnicate'"):
        kit.frobnicate  # noqa: B018


def test_the_kit_loads_no_test_runner_no_telemetry_and_no_sdk():
    """And a clock loads no event loop. The sandbox alone is a fixture, and so a test runner's."""
    code = (
        "import sys, attune.testing as kit; kit.FakeClock(); clock = set(sys.modules)\n"
        "[getattr(kit, name) for name in kit.__all__ if 'sandbox' not in name.lower()]\n"
        "heavy = {'pytest', 'opentelemetry', 'anthropic', 'openai', 'httpx', 'httpx2', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)), sorted({'asyncio', 'http.client'} & clock))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] []\n"
