"""What Ctrl-C must not leave half done."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from graphad.timings import elsewhere

T = TypeVar("T")


def undisturbed(work: Callable[[threading.Event], T]) -> T:
    """Do what must not be left half done where Ctrl-C does not reach: it comes to the main thread
    only. `work` is given an event that tells it that nobody waits for it any more."""
    gone = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        return work(gone)
    done: list[T] = []
    failed: list[BaseException] = []  # emptied, or it would hold itself by its traceback

    def run():
        try:
            done.append(work(gone))
        except BaseException as error:
            failed.append(error)

    thread = started(run)
    if thread is None:
        run()
    else:
        try:
            with elsewhere():
                thread.join()
        except BaseException:
            gone.set()
            raise
    if failed:
        raise failed.pop()
    return done[0]


def started(work: Callable[[], None]) -> threading.Thread | None:
    """A thread that does the work; None where there can be no more, as while Python ends."""
    try:
        thread = threading.Thread(target=work, name="graphad undisturbed")
        thread.start()
    except RuntimeError:
        return None
    return thread
