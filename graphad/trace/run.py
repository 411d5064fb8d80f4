"""One run of the user's code on traced values: a function and argument specs to a Graph."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphad.errors import NOWHERE, TraceError, Where
from graphad.graph import Builder, Graph
from graphad.ops.value import Value, lift
from graphad.process.forks import in_child
from graphad.process.garbage import put_off
from graphad.spec import Spec, Unify
from graphad.trace import numpy_names, pytree, scipy_names
from graphad.trace.coercion import interrupting, noting
from graphad.trace.generators import Again
from graphad.trace.stand_ins import lessons, standing
from graphad.trace.tensor import Tensor


def underlying(f: Callable) -> Callable:
    """The Python function to trace: of an @njit function its source, else itself."""
    python = getattr(f, "py_func", None)
    return python if python is not None else f


class _Own(threading.local):
    builder: Builder | None = None  # of the trace that this thread is in
    depth = 0  # how many traces it is in


_ACTIVE = _Own()
# Traces under way in any thread: calls look at it, see run/gate.py.
TRACING = np.zeros(1, np.int64)


def _only_own() -> None:
    TRACING[0] = _ACTIVE.depth


in_child(_only_own)


def active() -> Tensor | None:
    """A value of the trace that this thread is in, if any."""
    builder = _ACTIVE.builder
    return None if builder is None else Tensor(builder, builder.add("const", (), _ZERO, value=0.0))


def trace(
    f: Callable, specs: Sequence[Spec], names: Sequence[str], where: Where | None = None
) -> tuple[Graph, Any]:
    """Run `f(list of Tensors) -> pytree` and return the graph and the structure of the result.

    Where two symbolic dims must be equal the run starts again with one name for both, where it met
    a function of SciPy's or gave NumPy a list of traced values for the first time, with names that
    take them, and where random numbers were drawn meanwhile, to see by whom.
    """
    inner = _ACTIVE.builder is not None
    with standing(), put_off(), interrupting(False) if inner else noting() as noted:
        return _trace(f, specs, names, where, noted)


def _trace(f, specs, names, where, noted: list | None) -> tuple[Graph, Any]:
    specs = list(specs)
    outer, depth = _ACTIVE.builder, _ACTIVE.depth
    while True:
        builder, before = Builder(), lessons()
        if noted is not None:
            noted.clear()
        try:
            # Ctrl-C comes after a call: of one call here and one there none is without the other.
            np.add(TRACING, 1, TRACING)
            _ACTIVE.builder, _ACTIVE.depth = builder, depth + 1
            with builder.at(where or NOWHERE):
                leaves = [
                    Tensor(builder, builder.input(s, n)) for s, n in zip(specs, names, strict=True)
                ]
            out = f(leaves)
            values, tree = lift_results(builder, leaves, out)
            graph = builder.finish(v.id for v in values)
            if noted and numpy_names.learned(noted, before):
                continue
        except Unify as found:
            symbol, other = found.pair
            specs = [s.put({symbol: other}) for s in specs]
            continue
        except Again:
            continue
        except Exception as error:
            if noted is not None and (
                numpy_names.learned(noted, before) or scipy_names.learned(error, before)
            ):
                continue
            raise
        finally:
            _ACTIVE.builder, _ACTIVE.depth = outer, depth
            builder.open = False
            np.subtract(TRACING, 1, TRACING)
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


def signature_of(f: Callable) -> inspect.Signature:
    """The signature of what will be traced; a ufunc's operands alone, so that `out=` is ours."""
    if isinstance(f, np.ufunc):
        operand = inspect.Parameter.POSITIONAL_ONLY
        return inspect.Signature([inspect.Parameter(n, operand) for n in "xyzw"[: f.nin]])
    try:
        return inspect.signature(underlying(f))
    except (TypeError, ValueError):
        parameters = [inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)]
        return inspect.Signature(parameters)
