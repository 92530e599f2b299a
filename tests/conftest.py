"""The walls around every test: no network but loopback, no key, no home of a person's, the same dice each time.

What a test needs beyond these walls it builds itself. A test that needs an outside program says so with
`@pytest.mark.needs("name")`: it is skipped where the program is missing, and fails instead where the environment
variable ATTUNE_REQUIRE (comma-separated names; "stack": all that `make stack` makes) says that this machine must have it.
"""

from __future__ import annotations

import ipaddress
import itertools
import os
import random
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

try:
    from stack import programs
except ImportError:  # a copy of this file on its own, as tests/house makes
    programs = None

FOREIGN_PREFIXES = ("ATTUNE_", "OTEL_", "ANTHROPIC_", "OPENAI_", "AWS_", "GOOGLE_", "AZURE_")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
SEED = 20261123

pytest_plugins = ["attune.testing.sandbox"]

# Read once, before the walls go up: what the person who runs the tests had set.
OUTSIDE = dict(os.environ)
REQUIRED = {name.strip() for name in OUTSIDE.get("ATTUNE_REQUIRE", "").split(",") if name.strip()}

settings.register_profile("attune", deadline=None, derandomize=True, database=None)


def pytest_configure(config: pytest.Config) -> None:
    """Raise the walls before any test module is imported."""
    config.addinivalue_line("markers", "needs(*programs): outside programs this test cannot do without")
    settings.load_profile(OUTSIDE.get("HYPOTHESIS_PROFILE", "attune"))
    _clean(os.environ)
    socket.socket.connect = _guarded(socket.socket.connect)  # type: ignore[method-assign]
    socket.socket.connect_ex = _guarded(socket.socket.connect_ex)  # type: ignore[method-assign]
    socket.socket.sendto = _guarded(socket.socket.sendto)  # type: ignore[method-assign]
    socket.getaddrinfo = _resolving(socket.getaddrinfo)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a missing program, or fail where the machine promised it."""
    for mark in item.iter_markers("needs"):
        for program in mark.args:
            if programs and program in programs.names():
                _refuse_without(program, {program, "stack"}, programs.find(program, OUTSIDE), "not here: `make stack`")
            else:
                _refuse_without(program, {program}, shutil.which(program, path=OUTSIDE.get("PATH")), "not installed")


def _refuse_without(program: str, names: set[str], found: Path | str | None, lack: str) -> None:
    if found is None and (named := names & REQUIRED):
        pytest.fail(f"{program} is {lack}, and ATTUNE_REQUIRE names {', '.join(named)}", pytrace=False)
    if found is None:
        pytest.skip(f"{program} is {lack}")


@pytest.fixture(scope="session")
def outside() -> dict[str, str]:
    """The environment as it was before the walls: for linters, whose caches live in the real home."""
    return dict(OUTSIDE)


@pytest.fixture(scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Hand out homes nobody has lived in."""
    street = tmp_path_factory.mktemp("homes")
    return (street / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def _walls(_homes: Iterator[Path]) -> Iterator[None]:
    """Give each test a home of its own, clean variables, and dice that fall as they did last time."""
    before = dict(os.environ)
    _clean(os.environ)
    home = next(_homes)
    home.mkdir()
    os.environ["HOME"] = os.environ["USERPROFILE"] = str(home)
    os.environ["ATTUNE_HOME"] = str(home / ".attune")
    random.seed(SEED)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _clean(environ: Any) -> None:
    for name in list(environ):
        if name.upper().startswith(FOREIGN_PREFIXES) or name.upper() in PROXIES:
            del environ[name]


def _guarded(method: Any) -> Any:
    def connect(self: socket.socket, *args: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _refuse_unless_loopback(args[-1][0])
        return method(self, *args)

    return connect


def _resolving(resolve: Any) -> Any:
    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if isinstance(name, str) and name.rstrip(".").endswith(".invalid"):  # reserved: it never resolves (RFC 6761)
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if name is not None:
            _refuse_unless_loopback(name)
        return resolve(host, *args, **kwargs)

    return getaddrinfo


def _refuse_unless_loopback(host: Any) -> None:
    name = host.decode() if isinstance(host, bytes) else str(host)
    if name in ("", "localhost", "0.0.0.0", "::"):  # the wildcards are bound to, and reach this machine only
        return
    try:
        near = ipaddress.ip_address(name.split("%")[0]).is_loopback
    except ValueError:
        near = False
    if not near:
        pytest.fail(f"a test reached for {name!r}: only loopback is allowed", pytrace=True)
