"""Where buffers are in a call's memory, and sizes that may depend on symbolic dims."""

from __future__ import annotations

from typing import Any, NamedTuple

from graphad.lower.memory import ALIGNMENT, aligned


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
    """The larger of two places, or what is beyond both."""
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    return b if isinstance(a, int) and a == 0 else a + b
