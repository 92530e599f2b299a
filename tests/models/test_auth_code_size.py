"""Lines of code are the lines that are neither blank nor comment."""

from __future__ import annotations

import os

import pytest

from attune.models.auth_strategy import count_lines_of_code, get_module_size_category


@pytest.mark.parametrize(
    ("name", "text", "count"),
    [
        ("a.py", "", 0),
        ("b.py", "# one\n\n   # two\n\t\nx = 1  # three\n", 1),
        ("c.py", 'x = 1\n"""text"""\r\ny = 2', 3),
        ("d.js", "// one\n/* two\nthree\n*/ four\nfive /* six\nseven */\n/* eight */ nine\n\n# ten", 4),
        ("e.go", "a := 1\n/*\nb\n", 1),
        ("f.sh", "#!/bin/sh\necho\n// not a comment here\n", 2),
    ],
)
def test_comments_and_blank_lines_do_not_count(tmp_path, name, text, count):
    (tmp_path / name).write_text(text)
    assert count_lines_of_code(tmp_path / name) == count
    assert count_lines_of_code(str(tmp_path / name)) == count


def test_what_is_missing_or_no_file_has_no_lines(tmp_path):
    assert count_lines_of_code(tmp_path / "missing.py") == 0
    assert count_lines_of_code(tmp_path) == 0
    assert count_lines_of_code("\0") == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_fifo_has_no_lines(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert count_lines_of_code(tmp_path / "pipe") == 0


def test_bytes_that_are_no_text_are_lines_all_the_same(tmp_path):
    (tmp_path / "x.py").write_bytes(b"\xff\xfe\nx = 1\n")
    assert count_lines_of_code(tmp_path / "x.py") == 2


@pytest.mark.parametrize(
    ("lines", "size"),
    [(0, "small"), (499, "small"), (500, "medium"), (1999, "medium"), (2000, "large"), (10**9, "large")],
)
def test_sizes_change_at_500_and_2000(lines, size):
    assert get_module_size_category(lines) == size
