"""Python's search for reference cycles, put off while a graph grows.

Nothing of a graph is a cycle, yet each search goes through all of it, and they come every few
hundred nodes: a third of the time of a large trace.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from graphad.process.forks import in_child

_OURS = [False]  # whether it is we who put it off


@contextmanager
def put_off() -> Iterator[None]:
    """No search for cycles inside, unless another thread comes to the end of such a block."""
    before = gc.isenabled()
    try:
        if before:
            _OURS[0] = True
            gc.disable()
        yield
    finally:
        if before:
            gc.enable()
            _OURS[0] = False


def _in_child() -> None:
    if _OURS[0]:  # maybe of a thread that is not there any more
        gc.enable()
        _OURS[0] = False


in_child(_in_child)
