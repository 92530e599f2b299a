"""How large a module of source code is: its lines of code, and the word for that size.

A count by lines, not a parser: a comment inside a string counts as a comment. Reads the one file it is handed (a marked
exception to the purity of `models`) and nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

SMALL: Final = 500  # lines: below it a module is small
MEDIUM: Final = 2000  # lines: below it medium, from it on large

_SLASHES: Final = frozenset(
    {".c", ".cc", ".cpp", ".cs", ".cxx", ".dart", ".go", ".h", ".hpp", ".java", ".js", ".jsx", ".kt", ".mjs", ".php", ".rs", ".scala", ".swift", ".ts", ".tsx"}
)  # fmt: skip


def count_lines_of_code(path: str | Path) -> int:
    """Lines that are neither blank nor comment; 0 if there is no such file, or it cannot be read.

    Comments are lines that begin with "#", or, by the file's suffix, with "//" and between "/*" and "*/".
    """
    file = Path(path)
    try:
        if not file.is_file():
            return 0
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except (OSError, ValueError):
        return 0
    if file.suffix.lower() in _SLASHES:
        return _count_slashed(lines)
    return sum(1 for line in lines if (text := line.strip()) and not text.startswith("#"))


def _count_slashed(lines: list[str]) -> int:
    count, inside = 0, False
    for line in lines:
        text = line.strip()
        if inside:
            _, end, text = text.partition("*/")
            inside, text = not end, text.strip()
        while text.startswith("/*"):
            _, end, text = text[2:].partition("*/")
            inside, text = not end, text.strip()
        if text and not text.startswith("//"):
            count += 1
            inside = text.rfind("/*") > text.rfind("*/")
    return count


def get_module_size_category(lines: int) -> Literal["small", "medium", "large"]:
    """The word for a number of lines of code: small under 500, medium under 2000, large from there on."""
    if lines < SMALL:
        return "small"
    return "medium" if lines < MEDIUM else "large"
