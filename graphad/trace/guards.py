"""Around a run of the user's code: what NumPy's errors mean."""

from __future__ import annotations

import traceback
from contextlib import contextmanager

from graphad.errors import (
    _INTERNAL,
    NOWHERE,
    GraphadError,
    NotCoveredError,
    TraceError,
    Where,
    user_line,
)
from graphad.ops import matrix_functions, special_functions
from graphad.ops.scipy_functions import FUNCTIONS
from graphad.ops.value import holds_traced
from graphad.trace import scipy_names
from graphad.trace.instead import instead
from graphad.trace.tensor import ASSEMBLE

_RAW = {
    "setting an array element with a sequence": (
        "a traced value was put into a NumPy array, or made a NumPy scalar",
        f"for z[i] = x: {ASSEMBLE}; for np.float32(x) and np.asarray(x, dtype): x.astype(dtype); "
        "for NumPy functions of np.array([x, y]): np.stack([x, y])",
    ),
    "which has no callable": (
        "NumPy was given numbers and traced values in a list, by a name that is local",
        "import numpy as np at the top of the module; or np.stack([1.0, x])",
    ),
    "only integers, slices": (
        "a NumPy array was indexed by a traced value",
        "np.asarray(table, like=i)[i], or pass the table as an argument",
    ),
    "could not be broadcast": (
        "a traced value was put into a NumPy array",
        f"for z[i] = x: {ASSEMBLE}",
    ),
}


@contextmanager
def clear_errors():
    """Say what errors of NumPy and SciPy about traced values mean, with the user's line."""
    try:
        yield
    except Exception as error:
        ours = isinstance(error, GraphadError)
        called = _scipy_function(error)
        if called and (ours or _met_traced(error)):
            raise _of_scipy(called, error) from error
        if ours:
            raise
        for text, (problem, fix) in _RAW.items():
            if text in str(error):
                raise TraceError(
                    "NumPy array and traced value", problem, where=_innermost(error),
                    expected="an expression that makes a new array", got=str(error), fix=fix,
                ) from error  # fmt: skip
        raise


def _of_scipy(called: str, error) -> NotCoveredError:
    """The error of a traced value in a function of SciPy's."""
    module, name = called.rsplit(".", 1)
    problem, fix = "this function of SciPy's is not traced", instead(called)
    if name in FUNCTIONS.get(module, ()):
        problem = "this name of it cannot be traced: it is local, or kept in an object"
        fix = f"call it as {called}, or import it at the top of the module"
        if hasattr(matrix_functions, name) or hasattr(special_functions, name):
            fix += f"; or ga.{called.removeprefix('scipy.')}"
    return NotCoveredError(
        called, problem, where=_innermost(error), got="a traced argument",
        expected="ufuncs of scipy.special, and the functions that docs/operations.md lists",
        fix=fix,
    )  # fmt: skip


def _scipy_function(error) -> str:
    """The function of SciPy's that a traceback goes through from the user's code; '' if none."""
    for _, frame in scipy_names.calls(error):
        package = [m for m in frame.f_globals["__name__"].split(".")[:2] if not m.startswith("_")]
        name = frame.f_code.co_name
        if name == "__init__" and "self" in frame.f_locals:
            name = type(frame.f_locals["self"]).__name__
        return ".".join([*package, *([] if name.startswith("__") else [name])])
    return ""


def _met_traced(error) -> bool:
    """Whether a traced value was among what one of SciPy's frames held."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    held = (v for f in frames if scipy_names.is_scipys(f) for v in f.f_locals.values())
    return any(holds_traced(v, 2) for v in held)


def _innermost(error) -> Where:
    """The last line of the user's in a traceback."""
    found, step = NOWHERE, error.__traceback__
    while step is not None:
        name = step.tb_frame.f_code.co_filename
        if not name.startswith(_INTERNAL) and not scipy_names.is_scipys(step.tb_frame):
            found = Where(name, step.tb_lineno)
        step = step.tb_next
    return user_line() if found is NOWHERE else found
