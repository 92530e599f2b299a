"""Documentation is run, not trusted: every fence in README.md and docs/*.md does what it shows.

Python fences of one file share a namespace and run in order, in an interpreter and a home of their own, with the SDKs
pointed at a scripted provider on loopback. A `text` or `output` fence right after one is what it prints, to the letter.
Commands in `bash` and `console` fences must exist, with the options they are given.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from house.source import PACKAGE, ROOT, modules, refuse

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PYTHON, SHELL, OUTPUT = {"python", "py"}, {"bash", "console", "sh", "shell"}, {"text", "output"}
# Programs of others that a page may call.
OTHERS = {
    "cd", "curl", "docker", "export", "git", "node_exporter", "opentelemetry-instrument", "otelcol", "otelcol-contrib",
    "pip", "prometheus", "pytest", "python", "python3", "source", "uv", "cat", "mkdir", "grafana-server", "grafana",
    "pre-commit", "bash", "jq",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fence:
    """One fenced block: its language, its text, the line it begins at, and whether it directly follows another."""

    language: str
    text: str
    line: int
    follows: bool


def fences(page: str) -> list[Fence]:
    """Every fence of a page, in order; only blank lines may stand between a fence and one that directly follows it."""
    found: list[Fence] = []
    opened: tuple[str, str, int, bool] | None = None
    lines: list[str] = []
    near = False
    for number, line in enumerate(page.splitlines(), 1):
        mark = re.match(r"\s*(`{3,}|~{3,})\s*([\w+-]*)", line)
        if opened is None and mark:
            opened, lines = (mark[1], mark[2].lower(), number, near), []
        elif opened is not None and line.strip() == opened[0]:
            found.append(Fence(opened[1], "\n".join(lines), opened[2], opened[3]))
            opened, near = None, True
        elif opened is not None:
            lines.append(line)
        elif line.strip():
            near = False
    assert opened is None, f"the fence opened in line {opened and opened[2]} is never closed"
    return found


def lessons(page: str) -> list[tuple[Fence, str | None]]:
    """Each Python fence with the output it promises, if it promises any."""
    every = fences(page)
    after = [*every, None][1:]
    return [
        (fence, then.text if then is not None and then.follows and then.language in OUTPUT else None)
        for fence, then in zip(every, after, strict=True)
        if fence.language in PYTHON
    ]


RUN = r"""
import contextlib, io, json, sys, warnings
warnings.simplefilter("error", DeprecationWarning)
namespace = {"__name__": "__main__"}
printed = []
for name, line, text in json.load(sys.stdin):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile("\n" * line + text, name, "exec"), namespace)
    printed.append(out.getvalue())
json.dump(printed, sys.__stdout__)
"""


def run(name: str, page: str, home: Path, url: str) -> None:
    """Run the Python fences of a page and compare what they print with what the page says."""
    taught = lessons(page)
    plan = json.dumps([(name, fence.line, fence.text) for fence, _ in taught])
    environment = {
        **os.environ,
        "HOME": str(home),
        "ATTUNE_HOME": str(home / ".attune"),
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "not-a-key",
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_KEY": "not-a-key",
        "PYTHONHASHSEED": "0",
        "COLUMNS": "120",
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN], input=plan, cwd=home, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, f"\n{done.stderr}"
    for (fence, promised), printed in zip(taught, json.loads(done.stdout), strict=True):
        if promised is not None:
            shown = "\n".join(line.rstrip() for line in printed.rstrip().splitlines())
            assert shown == promised.rstrip(), f"{name}:{fence.line} prints something else"


def commands(page: str) -> Iterator[tuple[int, str]]:
    """Each command line of the page's shell fences."""
    for fence in fences(page):
        if fence.language not in SHELL:
            continue
        prompted = any(line.startswith("$ ") for line in fence.text.splitlines())
        joined = fence.text.replace("\\\n", " ")
        for line in joined.splitlines():
            if prompted and not line.startswith("$ "):
                continue  # what the command printed
            bare = line.removeprefix("$ ").strip()
            for part in re.split(r"\s*(?:&&|\|\||;|\|)\s*", bare):
                if part and not part.startswith("#"):
                    yield fence.line, part


def unknown(command: str) -> str | None:
    """What is wrong with a command, or None."""
    words = [word for word in shlex.split(command, comments=True) if not re.fullmatch(r"[A-Z_]+=.*|&|\d?>.*", word)]
    while words and words[0] in ("uv", "run", "time", "sudo", "exec"):
        words = words[1:]
    if not words:
        return None
    program, *rest = words
    program = program.rsplit("/", 1)[-1]
    if program == "make":
        goals = [word for word in rest if not word.startswith("-") and "=" not in word]
        return next((f"make has no target {goal}" for goal in goals if goal not in targets()), None)
    if program == "attune":
        return wrong_words(rest)
    if program.startswith("python"):
        return wrong_script(rest)
    return None if program in OTHERS else f"{program} is not a program that a page may call"


@functools.cache
def targets() -> frozenset[str]:
    """The goals of the Makefile."""
    return frozenset(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def wrong_words(words: list[str]) -> str | None:
    """What `attune` does not know: a subcommand, or an option of the one that is named."""
    path = tuple(itertools.takewhile(lambda word: not word.startswith("-"), words))
    options = [word.split("=")[0] for word in words if word.startswith("-")]
    if (known := known_by(path)) is None:
        return f"there is no `attune {' '.join(path)}`"
    return next(
        (f"`attune {' '.join(path)}` has no option {option}" for option in options if option not in known), None
    )


@functools.cache
def known_by(path: tuple[str, ...]) -> frozenset[str] | None:
    """The options in the help of a command (arguments after it do no harm); None if there is no such command."""
    code = "import sys; from attune.cli.main import main; sys.argv[0] = 'attune'; sys.exit(main())"
    environment = {**os.environ, "COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}
    asked = [sys.executable, "-c", code, *path, "--help"]
    done = subprocess.run(asked, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return frozenset(re.findall(r"(?<![\w-])--?[a-z][\w-]*", done.stdout)) if done.returncode == 0 else None


def wrong_script(words: list[str]) -> str | None:
    """A script or module of ours that Python is asked to run, and that is not there."""
    if words[:1] == ["-m"] and words[1:] and words[1].startswith("attune"):
        known = {module.name for module in modules()}
        return None if {words[1], f"{words[1]}.__main__"} & known else f"there is no module {words[1]}"
    scripts = [word for word in words[:1] if word.endswith(".py") and "/" in word]
    return next((f"there is no file {script}" for script in scripts if not (ROOT / script).exists()), None)


def mapped(page: str) -> set[str]:
    """The files that the map of docs/architecture.md names: the fence that begins with `src/attune/`.

    A line ending its first word in `/` opens a folder, indented below its parent; the words ending in `.py` that a line
    begins with (after a folder's name, too) are files of the folder above.
    """
    text = next(fence.text for fence in fences(page) if fence.text.startswith("src/attune/"))
    folders: list[tuple[int, str]] = [(-1, "")]
    named: set[str] = set()
    for line in text.splitlines()[1:]:
        indent = len(line) - len(line.lstrip())
        words = line.split()
        while folders[-1][0] >= indent:
            folders.pop()
        if words and words[0].endswith("/"):
            folders.append((indent, folders[-1][1] + words.pop(0)))
        for word in words:
            if not re.fullmatch(r"\w+\.py", word):
                break
            named.add(folders[-1][1] + word)
    return named


@pytest.fixture
def scripted_url() -> Iterator[str]:
    """Where the SDKs in the pages' examples are sent."""
    from attune.testing import ScriptedProvider

    with ScriptedProvider(seed=1) as provider:
        yield provider.url


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_of_a_page_run_and_print_what_they_show(page, tmp_path, scripted_url):
    run(page.name, page.read_text(encoding="utf-8"), tmp_path, scripted_url)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_exist(page):
    every = [(line, why) for line, command in commands(page.read_text(encoding="utf-8")) if (why := unknown(command))]
    refuse(f"{page.name}:{line} {why}" for line, why in every)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_the_links_of_a_page_lead_somewhere(page):
    """To a file that is there; addresses elsewhere are not asked."""
    text = re.sub(r"(`{3,}).*?\1", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"\w+:|#", link)]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_map_is_the_house():
    """docs/architecture.md names every file of the package, and none that is not there."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    there = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    named = mapped(page)
    refuse([f"not on the map: {name}" for name in sorted(there - named)])
    refuse([f"on the map, not there: {name}" for name in sorted(named - there)])
    assert len(page.splitlines()) <= 120


def test_a_wrong_output_is_seen(tmp_path):
    page = "```python\nx = 2\n```\nprose\n```py\nprint(x)\n```\n\n```text\n{}\n```\n"
    run("page", page.format(2), tmp_path, "http://127.0.0.1:9")
    with pytest.raises(AssertionError, match="page:5"):
        run("page", page.format(3), tmp_path, "http://127.0.0.1:9")
    with pytest.raises(AssertionError, match="NameError"):
        run("page", "```python\nprint(y)\n```\n", tmp_path, "http://127.0.0.1:9")


def test_a_wrong_command_is_seen():
    page = "```console\n$ make nothing-of-the-kind\nmake fails\n```\n```bash\nfrobnicate && make test  # why\n```\n"
    assert [command for _, command in commands(page)] == ["make nothing-of-the-kind", "frobnicate", "make test  # why"]
    assert [unknown(command) is None for _, command in commands(page)] == [False, False, True]
    assert unknown("attune frobnicate --json") is not None
    assert unknown("attune doctor --frobnicate") is not None
    assert unknown("python -m attune.frobnicate") is not None
    assert unknown("python tests/frobnicate.py") is not None


def test_a_wrong_map_is_seen():
    page = "```\nsrc/attune/\n  a.py    not b.py\n  room/ __init__.py what it is\n    c.py d.py  both\n  e.py\n```\n"
    assert mapped(page) == {"a.py", "room/__init__.py", "room/c.py", "room/d.py", "e.py"}
