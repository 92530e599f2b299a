"""What to say of a word that nobody knows, and of a list that is none.

It knows no setting and no call, so that both may ask it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from attune.errors import ConfigError
from attune.models.call import Target


def unknown(where: str, name: str, known: Iterable[str]) -> str:
    """The nearest word that is known, else all of them."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(known)}."
    return f"{where}: unknown argument {name!r}.{hint}"


def several(name: str, value: Any) -> tuple[Any, ...] | None:
    """A list of models as people write it; None where nothing is said."""
    if value is None:
        return None
    if isinstance(value, (str, Target)) or not isinstance(value, Sequence):
        raise ConfigError(f"{name}={value!r}: {name} must be a list of model ids or Targets.")
    if not value:
        raise ConfigError(
            f"{name}=[]: an empty list leaves nothing to choose from. Leave it out for the tier defaults."
        )
    return tuple(value)
