"""Where compile time goes: `GRAPHAD_TIMINGS=1` prints a table of the stages when Python ends."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from contextlib import contextmanager

SECONDS: dict[str, float] = {}
TIMES: dict[str, int] = {}
_OWN = threading.local()  # .inside: time spent in nested stages, which is not counted twice


@contextmanager
def timed(stage: str):
    """Count the time of a block under a stage's name, less that of stages inside it."""
    start = time.perf_counter()
    inside = _OWN.__dict__.setdefault("inside", [])
    inside.append(0.0)
    try:
        yield
    finally:
        whole = time.perf_counter() - start
        inner = inside.pop()
        if inside:
            inside[-1] += whole
        SECONDS[stage] = SECONDS.get(stage, 0.0) + whole - inner
        TIMES[stage] = TIMES.get(stage, 0) + 1


@contextmanager
def elsewhere():
    """The time of a block in which another thread works counts there."""
    start = time.perf_counter()
    try:
        yield
    finally:
        inside = _OWN.__dict__.get("inside")
        if inside:
            inside[-1] += time.perf_counter() - start


def report() -> str:
    """The table: milliseconds and number of times of each stage."""
    lines = [f"graphad  {'stage':<16}{'ms':>9}{'times':>7}"]
    for stage, seconds in sorted(SECONDS.items(), key=lambda p: -p[1]):
        lines.append(f"graphad  {stage:<16}{seconds * 1e3:9.1f}{TIMES[stage]:7}")
    lines.append(f"graphad  {'all':<16}{sum(SECONDS.values()) * 1e3:9.1f}")
    return "\n".join(lines)


if os.environ.get("GRAPHAD_TIMINGS"):
    atexit.register(lambda: print(report(), file=sys.stderr))
