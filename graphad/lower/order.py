"""The order of sums (docs/design.md, "Sums"), which every form of code keeps to."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

BLOCK = 256  # values that are reduced together
LANES = (32, 8)  # so many at a time, as long as there are so many


def start_of(reduce: str, dtype: np.dtype) -> Any:
    """What a reduction starts from."""
    if reduce in ("sum", "scan", "prod"):
        return float(reduce == "prod") if dtype.kind == "f" else int(reduce == "prod")
    lowest = reduce in ("max", "argmax")
    if dtype.kind == "f":
        return -math.inf if lowest else math.inf
    if dtype.kind == "b":
        return not lowest
    limits = np.iinfo(dtype)
    return int(limits.min if lowest else limits.max)


def in_order(items: list, step: Callable[[Any, Any], Any], total: Any) -> Any:
    """The items of a block combined in the order of sums (docs/design.md, "Sums"), onto a total if
    that is not None."""
    for width in LANES:
        wide = len(items) // width * width
        if wide:
            lanes = items[:width]
            for k in range(width, wide, width):
                lanes = list(map(step, lanes, items[k : k + width]))
            while len(lanes) > 1:
                half = len(lanes) // 2
                lanes = list(map(step, lanes[:half], lanes[half:]))
            total = lanes[0] if total is None else step(total, lanes[0])
        items = items[wide:]
    for item in items:
        total = item if total is None else step(total, item)
    return total
