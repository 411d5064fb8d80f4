"""One run of the user's code on traced values: a function and argument specs to a Graph."""

from __future__ import annotations

import dis
import inspect
import threading
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from graphad.errors import _INTERNAL, NOWHERE, GraphadError, TraceError, Where
from graphad.graph import Builder, Graph
from graphad.ops.value import Value, lift
from graphad.spec import Spec, Unify
from graphad.trace import pytree
from graphad.trace.tensor import ASSEMBLE, Tensor


def underlying(f: Callable) -> Callable:
    """The Python function to trace: of an @njit function its source, else itself."""
    python = getattr(f, "py_func", None)
    return python if python is not None else f


_ACTIVE = threading.local()


def active() -> Tensor | None:
    """A value of the trace that this thread is in, if any."""
    builder = getattr(_ACTIVE, "builder", None)
    return None if builder is None else Tensor(builder, builder.add("const", (), _ZERO, value=0.0))


def trace(
    f: Callable, specs: Sequence[Spec], names: Sequence[str], where: Where | None = None
) -> tuple[Graph, Any]:
    """Run `f(list of Tensors) -> pytree` and return the graph and the structure of the result.

    Where two symbolic dims must be equal the run starts again with one name for both.
    """
    specs = list(specs)
    outer = getattr(_ACTIVE, "builder", None)
    while True:
        builder = _ACTIVE.builder = Builder()
        try:
            with builder.at(where or NOWHERE):
                leaves = [
                    Tensor(builder, builder.input(s, n)) for s, n in zip(specs, names, strict=True)
                ]
            out = f(leaves)
            values, tree = lift_results(builder, leaves, out)
            graph = builder.finish(v.id for v in values)
        except Unify as found:
            symbol, other = found.pair
            specs = [s.put({symbol: other}) for s in specs]
            continue
        finally:
            builder.open = False
            _ACTIVE.builder = outer
        return graph, tree


def lift_results(builder: Builder, leaves, out) -> tuple[list[Value], Any]:
    """The leaves of a result as Values of this builder."""
    like = leaves[0] if leaves else Tensor(builder, builder.add("const", (), _ZERO, value=0.0))
    results, tree = pytree.flatten(out)
    for r in results:
        if isinstance(r, str) or callable(r):
            raise TraceError(
                "result", f"a {type(r).__name__} cannot be returned", expected="arrays and numbers",
                got=repr(r)[:60], fix="return it outside of the traced function",
            )  # fmt: skip
    values = [lift(like, r, "result") for r in results]
    return values, tree


_ZERO = Spec((), np.dtype("f8"))


@contextmanager
def no_random_numbers(f: Callable):
    """An error when NumPy's generators were used inside: one draw would be frozen for ever."""
    f = getattr(f, "__wrapped__", f)
    generators = _generators(f)
    before = [_state(g) for g in generators]
    yield
    if any(_state(g) != b for g, b in zip(generators, before, strict=True)):
        raise TraceError(
            "np.random inside a traced function",
            "the draw would be frozen into the kernel",
            where=_drawing_line(f),
            expected="random numbers as an argument",
            got="a draw while tracing",
            fix="pass the numbers in as an array, drawn before the call",
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
    return repr(state)


def _drawing_line(f) -> Where:
    """The line that names np.random or a generator."""
    code = getattr(f, "__code__", None)
    if code is None:
        return NOWHERE
    line = code.co_firstlineno
    for instruction in dis.get_instructions(code):
        line = instruction.starts_line or line
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
        "np.take(table, i), or pass the table as an argument",
    ),
    "could not be broadcast": (
        "a traced value was put into a NumPy array",
        f"for z[i] = x: {ASSEMBLE}",
    ),
}


@contextmanager
def clear_errors():
    """Say what NumPy's own errors about traced values mean, with the user's line."""
    try:
        yield
    except (ValueError, IndexError, TypeError) as error:
        if isinstance(error, GraphadError):
            raise
        for text, (problem, fix) in _RAW.items():
            if text in str(error):
                raise TraceError(
                    "NumPy array and traced value", problem, where=_innermost(error),
                    expected="an expression that makes a new array", got=str(error), fix=fix,
                ) from error  # fmt: skip
        raise


def _innermost(error) -> Where:
    """The last line of the user's in a traceback."""
    found, step = NOWHERE, error.__traceback__
    while step is not None:
        name = step.tb_frame.f_code.co_filename
        if not name.startswith(_INTERNAL):
            found = Where(name, step.tb_lineno)
        step = step.tb_next
    return found


def signature_of(f: Callable) -> inspect.Signature:
    """The signature of what will be traced."""
    try:
        return inspect.signature(underlying(f))
    except (TypeError, ValueError):
        parameters = [inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)]
        return inspect.Signature(parameters)
