"""What holds in a process forked while other threads were at work: those threads are not there any
more, and nobody releases the locks that they held."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_PROCESS = [object()]  # another one in each process
_RENEWING = threading.Lock()


class Lock:
    """A reentrant lock, free again in a forked child: `with lock.own:`.

    A method of Python's own could be interrupted between taking the lock and the block.
    """

    __slots__ = ("_lock", "_process")

    def __init__(self):
        self._lock, self._process = threading.RLock(), _PROCESS[0]

    @property
    def own(self):
        """The lock of this process."""
        if self._process is not _PROCESS[0]:
            with _RENEWING:
                if self._process is not _PROCESS[0]:
                    self._lock = threading.RLock()
                    self._process = _PROCESS[0]
        return self._lock


def _renew() -> None:
    global _RENEWING
    _RENEWING = threading.Lock()
    _PROCESS[0] = object()


def around(before: Callable, after: Callable) -> None:
    """Call something before each fork, and something after it in both processes."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=before, after_in_parent=after, after_in_child=after)


def in_child(call: Callable[[], None]) -> None:
    """Call something in each forked child."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=call)


in_child(_renew)


class lazy(Generic[T]):
    """As functools.cached_property, without the lock that Python 3.11 shares among all instances: a
    child forked while another thread computes one would wait for it for ever."""

    def __init__(self, compute: Callable[[Any], T]):
        self.compute, self.__doc__ = compute, compute.__doc__

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance, owner=None) -> T:
        if instance is None:
            return self  # type: ignore[return-value]
        found = instance.__dict__[self.name] = self.compute(instance)
        return found
