"""What the infrastructure tests share: a yard that starts real programs on loopback and stops every one of them."""

from __future__ import annotations

import pytest
from stack.launch import Yard


@pytest.fixture
def yard(tmp_path, outside):
    """Programs for one test."""
    with Yard(tmp_path / "yard", outside) as yard:
        yield yard


@pytest.fixture(scope="module")
def lasting_yard(tmp_path_factory, outside):
    """Programs for all tests of a module."""
    with Yard(tmp_path_factory.mktemp("yard"), outside) as yard:
        yield yard
