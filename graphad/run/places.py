"""Where buffers are in a call's memory, and sizes that may depend on symbolic dims."""

from __future__ import annotations

from typing import Any, NamedTuple

from graphad.lower.memory import ALIGNMENT, aligned
from graphad.spec import Dim


class Place(NamedTuple):
    """Where a buffer is: bytes beyond the address in a slot, and the list that its relocations go
    to (the image's own, or that of the loop that moves it)."""

    slot: int
    offset: Any
    moved: list[tuple[int, int, Any]]


def room(size) -> Any:
    """Bytes that hold so many, aligned."""
    return aligned(size) if isinstance(size, int) else size + ALIGNMENT


def later(a, b) -> Any:
    """The larger of two sizes; with symbolic dims what holds either, as little as is known to."""
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    one, other = (dict(v.terms) if isinstance(v, Dim) else {(): v} for v in (a, b))
    if min(*one.values(), *other.values(), 0) < 0:
        return a + b
    return Dim({k: max(one.get(k, 0), other.get(k, 0)) for k in one | other})
