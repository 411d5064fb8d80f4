"""Which elements of an event a coupling keeps, and which it moves."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from graphad.errors import ShapeError
from graphad.flows.axes import as_slice, inverse_of, taken


class Mask(NamedTuple):
    """Places of the kept and of the moved elements, of the last axis or of the flattened event."""

    kept: tuple[int, ...]
    moved: tuple[int, ...]
    event: tuple[int, ...]
    flat: bool

    def split(self, x):
        """(kept, moved) of values whose last axes are the event."""
        if self.flat:
            x = np.reshape(x, (*self.lead(x), len(self.kept) + len(self.moved)))
        return taken(x, self.kept), taken(x, self.moved)

    def lead(self, x) -> tuple:
        """The axes of x before the event."""
        return tuple(x.shape)[: len(x.shape) - len(self.event)]

    def join(self, kept, moved):
        """The inverse of `split`."""
        order = inverse_of((*self.kept, *self.moved))
        one, two = as_slice(self.kept), as_slice(self.moved)
        if one and two and one.step == two.step == 1:
            whole = np.concatenate((kept, moved) if self.kept < self.moved else (moved, kept), -1)
        else:
            whole = taken(np.concatenate((kept, moved), -1), order)
        return np.reshape(whole, (*kept.shape[: len(kept.shape) - self.axes], *self.event))

    @property
    def axes(self) -> int:
        """Axes of the event that the kept and the moved part have."""
        return 1 if self.flat else len(self.event)


def mask_of(event: tuple[int, ...], mask="half", flip=False) -> Mask:
    """The mask that a description means.

    Args:
        event: the event shape.
        mask: an integer (the first so many are kept), a float (that part of them), 'half',
            'alternating' (every other), 'checkerboard' (by the sum of the indices), 'channel' (the
            first half of the last axis), or a bool array, True where kept.
        flip: keep what would be moved, and move what would be kept.
    """
    size = math.prod(event)
    flat = len(event) > 1
    if isinstance(mask, str) and mask == "channel":
        flat, size = False, event[-1]
        kept = np.arange(size) < size // 2
    elif isinstance(mask, str) and mask == "checkerboard":
        places = itertools.product(*map(range, event))
        kept = np.array([sum(p) % 2 == 0 for p in places])
    elif isinstance(mask, str) and mask == "alternating":
        kept = np.arange(size) % 2 == 0
    elif isinstance(mask, str) and mask == "half":
        kept = np.arange(size) < size // 2
    elif isinstance(mask, (bool, str)):
        kept = np.zeros(0, bool)
    elif isinstance(mask, (int, np.integer)):
        kept = np.arange(size) < mask
    elif isinstance(mask, float):
        kept = np.arange(size) < round(mask * size)
    else:
        kept = np.asarray(mask)
        kept = kept.reshape(-1) if kept.shape == tuple(event) and kept.dtype == bool else kept[:0]
    if len(kept) != size or kept.all() or not kept.any():
        raise ShapeError(
            "mask", "a coupling keeps some elements and moves others",
            expected=f"a mask of {size} elements: an integer, a fraction, 'half', 'alternating', "
            "'checkerboard', 'channel' or bools",
            got=f"{mask!r}"[:60] + f" for event shape {event}", fix="mask='half'",
        )  # fmt: skip
    kept = ~kept if flip else kept
    return Mask(tuple(np.flatnonzero(kept).tolist()), tuple(np.flatnonzero(~kept).tolist()),
                tuple(event), flat)  # fmt: skip
