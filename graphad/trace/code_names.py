"""Names that a Python function's code mentions, its inner functions' included."""

from __future__ import annotations

import functools
import types


@functools.lru_cache(maxsize=4096)
def names_in(code: types.CodeType) -> frozenset[str]:
    """Globals and attributes that the code names; those of closures are in `co_freevars`."""
    found = set(code.co_names)
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            found |= names_in(inner)
    return frozenset(found)


@functools.lru_cache(maxsize=4096)
def ordered_names(code: types.CodeType) -> tuple[str, ...]:
    """The same, in one order."""
    return tuple(sorted(names_in(code)))
