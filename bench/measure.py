"""Timing: peers interleaved in one run, the minimum of many repeats, results checked first."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

SETTLE = 0.004  # seconds


@dataclass
class Row:
    """One job done by graphad and its peers: name -> a callable without arguments."""

    name: str
    jobs: dict[str, Callable]
    tolerance: float = 1e-9
    seconds: dict[str, float] = field(default_factory=dict)
    target: float = 1.0  # of graphad's time over the best peer's
    compared: Callable | None = None  # what is checked of results that are random
    floor: str = ""  # a job that is no peer, but a part of the work: within 1.25 of it is enough
    by_hand: str = ""  # a job that is no peer, but the derivative by hand: to be faster than
    busy: bool = False  # beside processes that use every core; the mean counts then, not the best

    @property
    def best_peer(self) -> tuple[str, float]:
        """The fastest of the others."""
        others = [(n, s) for n, s in self.seconds.items()
                  if n not in ("graphad", self.floor, self.by_hand)]  # fmt: skip
        return min(others, key=lambda p: p[1])

    @property
    def ratio(self) -> float:
        """graphad's time over the best peer's."""
        return self.seconds["graphad"] / self.best_peer[1]

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        enough = self.floor and self.seconds["graphad"] <= 1.25 * self.seconds[self.floor]
        faster = not self.by_hand or self.seconds["graphad"] < self.seconds[self.by_hand]
        return (self.ratio <= self.target or bool(enough)) and faster


def flat(result) -> list[np.ndarray]:
    """Leaves of nested tuples, lists and dicts as arrays."""
    if isinstance(result, dict):
        result = [result[k] for k in sorted(result)]
    if isinstance(result, (tuple, list)):
        return [a for r in result for a in flat(r)]
    if hasattr(result, "detach"):
        result = result.detach()
    return [np.asarray(result)]


def check(row: Row) -> None:
    """Every peer's result against graphad's; a difference is an error."""
    seen = row.compared or (lambda result: result)
    want = flat(seen(row.jobs["graphad"]()))
    for name, job in row.jobs.items():
        if name == row.floor:
            continue
        got = flat(seen(job()))
        assert len(got) == len(want), (row.name, name, len(got), len(want))
        for g, w in zip(got, want, strict=True):
            scale = 1.0 + np.abs(w).max() if w.size else 1.0
            np.testing.assert_allclose(
                g, w, rtol=row.tolerance, atol=row.tolerance * scale, err_msg=f"{row.name}: {name}"
            )


def measure(row: Row, budget: float) -> Row:
    """Fill in the seconds: rounds of each peer in turn until the budget is spent."""
    check(row)
    jobs = {n: j for n, j in row.jobs.items() if n != row.floor}
    if row.busy:
        return _beside_others(row, jobs, budget)
    _rounds(row, jobs, budget)
    if row.floor:  # apart: the threads of NumPy's BLAS wait in busy loops for a fifth of a second
        _rounds(row, {row.floor: row.jobs[row.floor]}, 0.3 * budget)
        time.sleep(0.3)
    return row


def _beside_others(row: Row, jobs: dict[str, Callable], budget: float) -> Row:
    """The mean time of each job while another process computes on each core."""
    burn = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(burn) for _ in range(os.cpu_count() or 1)]
    try:
        for name, job in jobs.items():
            job()
            start, count = time.perf_counter(), 0
            while time.perf_counter() < start + budget / len(jobs) or count < 3:
                job()
                count += 1
            row.seconds[name] = (time.perf_counter() - start) / count
    finally:
        for other in others:
            other.kill()
            other.wait()
    return row


def _rounds(row: Row, jobs: dict[str, Callable], budget: float) -> None:
    counts = {}
    for name, job in jobs.items():
        start = time.perf_counter()
        job()
        once = time.perf_counter() - start
        counts[name] = max(1, int(0.01 / max(once, 1e-7)))
        row.seconds[name] = once
    end = time.perf_counter() + budget
    rounds = 0
    while time.perf_counter() < end or rounds < 3:
        for name, job in jobs.items():
            n = counts[name]
            time.sleep(SETTLE)  # until the threads of the peer before no longer wait in busy loops
            job()
            start = time.perf_counter()
            for _ in range(n):
                job()
            row.seconds[name] = min(row.seconds[name], (time.perf_counter() - start) / n)
        rounds += 1


def shown(seconds: float) -> str:
    """A time in the unit that fits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
