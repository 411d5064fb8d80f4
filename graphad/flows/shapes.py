"""Sample, batch and event shapes: what a value must look like, and the errors that say so.

A value of a distribution has the shape (*sample shape, *batch shape, *event shape). The event is
one outcome and gives one number; the batch are distributions side by side, with parameters of
their own; the sample are independent draws.
"""

from __future__ import annotations

import math

import numpy as np

from graphad.errors import DTypeError, ShapeError
from graphad.random.draws import integers_of


def as_shape(operation: str, shape) -> tuple[int, ...]:
    """An event shape: positive integers, of which one alone is a shape of one axis."""
    given = integers_of(operation, shape, "such as (32, 32, 3)", "event_shape=(8,)")
    if any(d < 1 for d in given):
        raise ShapeError(operation, "a shape has positive sizes", expected="sizes of 1 or more",
                         got=str(given), fix="event_shape=(8,)")  # fmt: skip
    return given


def as_value(operation: str, x):
    """A traced value or an array of numbers."""
    if hasattr(x, "spec"):
        return x
    x = np.asarray(x)
    if x.dtype.kind not in "fiub":
        raise DTypeError(operation, "values are real numbers", expected="float64 or float32",
                         got=str(x.dtype), fix="np.asarray(x, float)")  # fmt: skip
    return x if x.dtype.kind == "f" else x.astype(np.float64)


def fit(operation: str, x, event_shape, batch_shape=()):
    """x as a value whose last axes are the event, and those before broadcast with the batch."""
    x = as_value(operation, x)
    shape, n = tuple(x.shape), len(event_shape)
    leading = shape[: len(shape) - n] if n else shape
    problem = None
    if len(shape) < n or (n and shape[-n:] != tuple(event_shape)):
        problem = "the value's last axes are not the event shape"
    else:
        try:
            together(leading, tuple(batch_shape))
        except ValueError:
            problem = "the value's axes before the event do not fit the batch shape"
    if problem is None:
        return x
    sample = "?" if len(shape) < n + len(batch_shape) else str(
        leading[: len(leading) - len(batch_shape)]
    )  # fmt: skip
    raise ShapeError(
        operation, problem,
        expected=f"(*sample shape, *batch shape {tuple(batch_shape)}, *event shape "
        f"{tuple(event_shape)})",
        got=f"shape {shape}, as sample shape {sample}, batch shape {tuple(batch_shape)}, "
        f"event shape {shape[len(shape) - n:] if n else ()}",
        fix=advice(shape, tuple(event_shape)),
    )  # fmt: skip


def fitted(part, method: str, x, event: str = "event_shape"):
    """`fit` for a method of a part, which remembers the shapes that it took before."""
    if type(x) is np.ndarray:
        taken = part.__dict__.setdefault("_taken", set())
        key = (method, x.shape, x.dtype)
        if key in taken:
            return x
        made = fit(f"{type(part).__name__}.{method}", x, getattr(part, event), part.batch_shape)
        if made is x:
            taken.add(key)
        return made
    return fit(f"{type(part).__name__}.{method}", x, getattr(part, event), part.batch_shape)


def advice(shape, event_shape) -> str:
    """What to write where a shape does not fit an event shape."""
    size = math.prod(event_shape)
    for k in range(len(shape) + 1):
        if math.prod(shape[k:]) == size and k < len(shape):
            axes = "".join(f"{d}, " for d in (*shape[:k], *event_shape))
            return f"x.reshape({axes.rstrip(', ')}), or a distribution of event shape {shape[k:]}"
    if sorted(shape[-len(event_shape) :]) == sorted(event_shape) and event_shape:
        return "np.moveaxis, so that the event's axes come last, in its order"
    return f"values whose last axes are {event_shape}"


def together(*shapes) -> tuple:
    """The shape that shapes broadcast to; their dims may be symbolic. Raises ValueError."""
    if all(isinstance(d, int) for shape in shapes for d in shape):
        return np.broadcast_shapes(*shapes)
    whole: list = []
    for shape in shapes:
        whole = [1] * (len(shape) - len(whole)) + whole
        for k in range(1, len(shape) + 1):
            if whole[-k] == 1:
                whole[-k] = shape[-k]
            elif shape[-k] != 1 and shape[-k] != whole[-k]:
                raise ValueError(f"{shape[-k]} and {whole[-k]}")
    return tuple(whole)


def over(log_density, axes: int):
    """The sum over the last `axes` axes: what was batch becomes part of the event."""
    return log_density.sum(axis=tuple(range(-axes, 0))) if axes else log_density


def nothing(x, event_shape):
    """A log-det of zeros."""
    return np.zeros_like(x[(..., *(0,) * len(event_shape))])
