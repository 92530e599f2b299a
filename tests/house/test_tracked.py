"""What git keeps is fit for every machine: no registry's host, no path of one machine, no promise, no loose end."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from house.source import ROOT, refuse, tracked

# Written apart, so that this file does not name what it forbids.
HOSTS = re.compile(
    "|".join(
        re.escape(".".join(words))
        for words in [
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("registry", "npmjs"),
            ("npmjs", "com"),
            ("crates", "io"),
            ("proxy", "golang", "org"),
            ("maven", "org"),
            ("maven", "apache", "org"),
            ("deb", "debian", "org"),
        ]
    )
)
MACHINE = re.compile(r"(?<![\w.~*/-])/(?:work|root)(?:/|\b)|/home/(?!you\b|user\b)\w+|/Users/\w+|[A-Z]:\\\\?Users")
UNDONE = re.compile(r"\b(?:TO" + "DO|FIX" + r"ME)\b")
ELSEWHERE = re.compile(r"\bCONT" + r"RACT\b|\bDES" + r"IGN(?:\.md)?\b")  # documents that do not come with the source
TEXT = {".py", ".pyi", ".md", ".toml", ".txt", ".yml", ".yaml", ".json", ".cfg", ".ini", ".sh", ".jsonl", ".csv", ""}


def unfit(text: str) -> Iterator[str]:
    """Each line that binds the file to a registry, to a machine, to a later day, or to what readers do not have."""
    for number, line in enumerate(text.splitlines(), 1):
        for pattern in (HOSTS, MACHINE, UNDONE, ELSEWHERE):
            if found := pattern.search(line):
                yield f"{number}: {found.group()}"


def test_no_file_names_a_registry_or_a_machine():
    """Installed by name, found by relative path, finished."""
    here = ROOT / "tests" / "house"
    mine = {here.joinpath(name).relative_to(ROOT) for name in ("test_tracked.py", "test_sizes.py")}  # they hold samples
    for name in sorted(set(tracked()) - mine):
        if name.suffix in TEXT:
            text = (ROOT / name).read_text(encoding="utf-8", errors="replace")
            refuse(f"{name}:{found}" for found in unfit(text))


def test_every_file_is_small_enough_to_read():
    """A file over 1 MB is data of somebody else's, or a mistake."""
    refuse(name for name in tracked() if (ROOT / name).stat().st_size > 1_000_000)


def test_names_of_files_live_together():
    """No two files whose names differ only in case: half the world's file systems would lose one."""
    names = [str(name).lower() for name in tracked()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "line",
    [
        "index" + "-url = https://" + "pypi" + ".org/simple",
        "path = '/" + "work/main'",
        "see /" + "root/.cache",
        "cd /home/" + "alice/attune",
        "# TO" + "DO: later",
        "see CONT" + "RACT",
    ],
)
def test_the_rule_sees_what_does_not_belong(line):
    assert len(list(unfit(line))) == 1


@pytest.mark.parametrize(
    "line", ["framework/main", "https://example.com/" + "work/main", "~/.attune", "POST /workflows"]
)
def test_the_rule_leaves_other_paths(line):
    assert list(unfit(line)) == []
