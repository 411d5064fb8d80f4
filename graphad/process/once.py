"""What is made once a process, by one thread.

`functools.lru_cache` lets two threads that come first make one each and keeps one of them: where
native code holds the address of the other, that is memory of nobody's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

from graphad.process.forks import Lock

T = TypeVar("T")


def once(make: Callable[[], T]) -> Callable[[], T]:
    """The function, called once, ever; later calls give what it gave."""
    lock = Lock()
    made: list[T] = []

    @functools.wraps(make)
    def get() -> T:
        if not made:
            with lock.own:
                if not made:
                    made.append(make())
        return made[0]

    return get
