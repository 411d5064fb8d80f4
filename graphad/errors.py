"""Errors: one formatter, so that every message has the same parts in the same order.

A message names the operation, the user's own line, what was expected and got, and the fix.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from typing import NamedTuple

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


class Where(NamedTuple):
    """A line of the user's code."""

    file: str
    line: int

    def __str__(self):
        return f"{self.file}:{self.line}"

    def text(self) -> str:
        """The source text of the line, or '' when the file cannot be read."""
        import linecache

        return linecache.getline(self.file, self.line).strip()


NOWHERE = Where("<graph>", 0)


def _numpy_folders() -> tuple[str, str]:
    """Where NumPy is, and SciPy beside it."""
    import numpy

    folder = os.path.dirname(os.path.abspath(numpy.__file__))
    return folder + os.sep, os.path.join(os.path.dirname(folder), "scipy") + os.sep


def _numpy_linalg_error() -> type[Exception]:
    import numpy

    return numpy.linalg.LinAlgError


_INTERNAL = (
    _PACKAGE, *_numpy_folders(), contextlib.__file__, functools.__file__,
    "<__array_function__", "<frozen",
)  # fmt: skip


def user_line() -> Where:
    """The innermost frame that belongs to neither graphad nor NumPy."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_INTERNAL):
            return Where(name, frame.f_lineno)
        frame = frame.f_back
    return NOWHERE


def explain(operation, problem, *, where=None, expected=None, got=None, fix=None) -> str:
    """The text of an error: operation, line, problem, expected and got, and the fix."""
    where = user_line() if where is None else where
    lines = [f"{operation}: {problem}"]
    if where is not NOWHERE:
        source = where.text()
        lines.append(f"  at {where}" + (f"\n     {source}" if source else ""))
    if expected is not None:
        lines.append(f"  expected: {expected}")
    if got is not None:
        lines.append(f"  got:      {got}")
    if fix is not None:
        lines.append(f"  fix:      {fix}")
    return "\n".join(lines)


class GraphadError(Exception):
    """Base class of graphad's errors; keyword arguments are those of `explain`."""

    def __init__(self, operation, problem=None, **parts):
        # A pickled exception comes back with its finished text alone.
        super().__init__(operation if problem is None else explain(operation, problem, **parts))


class TraceError(GraphadError, TypeError):
    """Python code that a traced value cannot take part in."""


class ShapeError(GraphadError, ValueError):
    """Shapes that do not fit."""


class DTypeError(GraphadError, TypeError):
    """A dtype that an operation does not take."""


class NotCoveredError(GraphadError, TypeError):
    """A NumPy call that graphad does not know."""


class NoAttributeError(GraphadError, AttributeError):
    """What arrays have and traced values do not."""


class DerivativeError(GraphadError, TypeError):
    """A derivative that is not defined."""


class GraphIndexError(GraphadError, IndexError):
    """An index outside its axis."""


class LinAlgError(GraphadError, _numpy_linalg_error()):
    """A matrix that cannot be factored, or solved with."""


class WeightError(GraphadError, ValueError):
    """Weights that nothing can be drawn by."""


class ParameterError(GraphadError, ValueError):
    """A parameter outside of what its distribution allows."""


class RangeError(ParameterError, OverflowError):
    """A range that is wider than numbers are."""


class NoDeviceError(GraphadError, RuntimeError):
    """A call for a GPU where there is none, or nothing to reach it with."""


class SlowCalls(RuntimeWarning):
    """Calls go through Python, in this interpreter: the native way in cannot read its objects."""


class CheckError(GraphadError, ValueError):
    """A graph or program that breaks its own rules; a defect of the pass that made it."""
