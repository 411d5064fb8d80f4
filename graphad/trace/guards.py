"""Around a run of the user's code: what must not happen in it, and what NumPy's errors mean."""

from __future__ import annotations

import dis
import pickle
import sys
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import numpy as np

from graphad.errors import (
    _INTERNAL,
    NOWHERE,
    GraphadError,
    NotCoveredError,
    TraceError,
    Where,
    user_line,
)
from graphad.ops import matrix_functions, special
from graphad.ops.scipy_functions import FUNCTIONS
from graphad.trace import scipy_names
from graphad.trace.tensor import ASSEMBLE


@contextmanager
def no_random_numbers(f: Callable):
    """An error when NumPy's generators were used inside: one draw would be frozen for ever."""
    f = getattr(f, "__wrapped__", f)
    ready = "numpy.random" in sys.modules
    generators = _generators(f) if ready else []
    before = [_state(g) for g in generators]
    yield
    drawn = any(_state(g) != b for g, b in zip(generators, before, strict=True))
    if drawn or (not ready and "numpy.random" in sys.modules and _started()):
        raise TraceError(
            "np.random inside a traced function",
            "the draw would be frozen into the kernel",
            where=_drawing_line(f),
            expected="ga.random with a key, or random numbers as an argument",
            got="a draw while tracing",
            fix="ga.random.normal(key, shape), with key = ga.random.key(0) as an argument",
        )


def _generators(f):
    found: list[Any] = [np.random.mtrand._rand]
    code = getattr(f, "__code__", None)
    if code is not None:
        reach = [f.__globals__.get(n) for n in code.co_names]
        for cell in f.__closure__ or ():
            try:
                reach.append(cell.cell_contents)
            except ValueError:  # an empty cell: the name is bound later
                continue
        found += [g for g in reach if isinstance(g, (np.random.Generator, np.random.RandomState))]
    return found


def _state(generator):
    bits = getattr(generator, "bit_generator", None)
    state = generator._bit_generator.state if bits is None else bits.state
    return pickle.dumps(state)


def _started() -> bool:
    """Whether NumPy's global generator, new in this process, has been drawn from."""
    return np.random.mtrand._rand._bit_generator.state["state"]["pos"] != 624


def _drawing_line(f) -> Where:
    """The line that names np.random or a generator."""
    code = getattr(f, "__code__", None)
    if code is None:
        return NOWHERE
    line = code.co_firstlineno
    for instruction in dis.get_instructions(code):
        place = instruction.positions
        line = (place and place.lineno) or line
        name = str(instruction.argval)
        reached = f.__globals__.get(name)
        if name == "random" or isinstance(reached, (np.random.Generator, np.random.RandomState)):
            return Where(code.co_filename, line)
    return Where(code.co_filename, code.co_firstlineno)


_RAW = {
    "setting an array element with a sequence": (
        "a traced value was put into a NumPy array, or made a NumPy scalar",
        f"for z[i] = x: {ASSEMBLE}; for np.float32(x) and np.asarray(x, dtype): x.astype(dtype); "
        "for NumPy functions of np.array([x, y]): np.stack([x, y])",
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
    except (ValueError, IndexError, TypeError) as error:
        ours = isinstance(error, GraphadError)
        called = _scipy_function(error)
        if called and (ours or any(text in str(error) for text in _RAW)):
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
    problem, fix = "this function of SciPy's is not traced", "write its formula with NumPy"
    if name in FUNCTIONS.get(module, ()):
        problem = "this name of it cannot be traced: it is local, or kept in an object"
        fix = f"call it as {called}, or import it at the top of the module"
        if hasattr(matrix_functions, name) or hasattr(special, name):
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
        return ".".join([*package, frame.f_code.co_name])
    return ""


def _innermost(error) -> Where:
    """The last line of the user's in a traceback."""
    found, step = NOWHERE, error.__traceback__
    while step is not None:
        name = step.tb_frame.f_code.co_filename
        if not name.startswith(_INTERNAL):
            found = Where(name, step.tb_lineno)
        step = step.tb_next
    return user_line() if found is NOWHERE else found
