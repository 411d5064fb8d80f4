"""Parameters that must stay in a domain, as free numbers that training moves."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from graphad.errors import ParameterError


def _positive_free(value):
    return np.log(value)


def _positive(free):
    return np.maximum(np.exp(free), np.finfo(free.dtype).tiny)


def _triangular_free(value):
    size = value.shape[-1]
    on = np.eye(size, dtype=bool)
    return np.where(on, np.log(np.where(on, value, 1.0)), value).astype(value.dtype)


def _triangular(free):
    on = np.eye(free.shape[-1], dtype=bool)
    return np.where(on, _positive(np.where(on, free, np.zeros_like(free))), free)


class Constraint(NamedTuple):
    """A domain: what to write of it, its numbers as free ones, and free ones as its numbers."""

    text: str
    free: Any
    value: Any


POSITIVE = Constraint("positive", _positive_free, _positive)
POSITIVE_DIAGONAL = Constraint("positive on its diagonal", _triangular_free, _triangular)


def freed(name: str, value: np.ndarray, constraint: Constraint | None) -> np.ndarray:
    """A parameter as free numbers; ParameterError where it is not in its domain."""
    if constraint is None:
        return value
    with np.errstate(all="ignore"):
        free = constraint.free(value)
    if not np.isfinite(free).all():
        raise ParameterError("fit", f"the parameter '{name}' is not {constraint.text}",
                             expected=constraint.text, got=f"{np.min(value):.6g} in it",
                             fix="another start, or trainable= without it")  # fmt: skip
    return free


def constrained(free, constraint: Constraint | None):
    """The parameter that free numbers mean."""
    return free if constraint is None else constraint.value(free)
