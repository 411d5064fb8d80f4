"""Long straight-line code cut into pieces, so that what repeats is compiled once.

Programs whose steps were written out by Python (a solver's, a filter's) are long lists of scalars
in which the same steps come again. They are cut where the repetition begins again: pieces that
read alike are one kernel, called with other addresses, and none is so long that LLVM takes more
than its length's worth of time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphad.lower.scalars import Literal, Ref, Scalar

LENGTH = 256  # scalars of a piece
NEAR = 400  # scalars back: how far away arguments still tell repetitions apart
WINDOW = 12  # scalars that are looked for before
TRIED = 12  # distances of repetition
OFTEN = 3  # times that something repeats to be cut by it, over the length of a piece at least


def cuts(scalars: Sequence[Scalar]) -> list[int]:
    """Where pieces begin, and the end of the last."""
    found, at = [0], 0
    for start, end, period in _repetitions(_marks(scalars)):
        found += _even(at, start)
        found += _periods(start, end, period)
        at = found[-1]
    found += _even(at, len(scalars))
    return found


def _even(start: int, end: int) -> list[int]:
    """Ends of pieces of about equal length."""
    count = -(-(end - start) // LENGTH)
    return [start + (end - start) * (k + 1) // count for k in range(count)]


def _periods(start: int, end: int, period: int) -> list[int]:
    """Ends of pieces that fall on the same places of every period: some periods at a time (a power
    of two, so that other loops over the same steps meet few kinds of piece), or parts of one."""
    together = 1
    while 2 * together * period <= LENGTH:
        together *= 2
    unit = together * period
    inside = _even(0, unit)
    whole = range(start, end - unit + 1, unit)
    return [at + k for at in whole for k in inside]


def _marks(scalars: Sequence[Scalar]) -> np.ndarray:
    """A number for each scalar, equal where they do the same to what is as far before them."""
    numbers: dict[Any, int] = {}
    place = {s.id: k for k, s in enumerate(scalars)}
    marks = []
    for k, s in enumerate(scalars):
        args = []
        for a in s.args:
            if isinstance(a, Ref):
                back = k - place.get(a.id, -NEAR)
                args.append(back if back < NEAR else 0)
            else:
                args.append(a.key if isinstance(a, Literal) else a)
        key = (s.op, s.dtype.num, s.operand and s.operand.num, *args)
        marks.append(numbers.setdefault(key, len(numbers)))
    return np.array(marks, np.int64)


def _repetitions(marks: np.ndarray) -> list[tuple[int, int, int]]:
    """(start, end, period) of stretches that repeat, in order and apart."""
    free = np.ones(len(marks), bool)
    found = []
    for period in _distances(marks):
        for start, end in _stretches(marks, period, free):
            if free[start - period : end].all():
                found.append((start - period, end, period))
                free[start - period : end] = False
    return sorted(found)


def _stretches(marks: np.ndarray, period: int, free: np.ndarray | None = None) -> list[list[int]]:
    """(start, end) of what equals what is a period before it for long enough, both being free."""
    same = np.zeros(len(marks) + 1, bool)
    same[period:-1] = marks[period:] == marks[:-period]
    if free is not None:
        same[period:-1] &= free[period:] & free[:-period]
    edges = np.flatnonzero(np.diff(same, prepend=False)).reshape(-1, 2)
    return edges[edges[:, 1] - edges[:, 0] >= _least(period)].tolist()


def _distances(marks: np.ndarray) -> list[int]:
    """Distances at which windows of marks come again, those of the most marks first."""
    before: dict[tuple, int] = {}
    counts: Counter[int] = Counter()
    listed = marks.tolist()
    for k in range(len(listed) - WINDOW + 1):
        window = tuple(listed[k : k + WINDOW])
        if window in before:
            counts[k - before[window]] += 1
        before[window] = k
    likely = [d for d, _ in counts.most_common(TRIED)]
    long = {d: _covered(marks, d) for d in likely}
    return sorted((d for d in likely if long[d]), key=lambda d: (-long[d], d))


def _covered(marks: np.ndarray, period: int) -> int:
    """How many marks are in stretches that repeat at this distance often enough."""
    return sum(end - start for start, end in _stretches(marks, period))


def _least(period: int) -> int:
    """How long a stretch that equals what is a period before it must be."""
    return max((OFTEN - 1) * period, LENGTH)
