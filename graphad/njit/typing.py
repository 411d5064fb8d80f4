"""Functions inside `@njit` code: Numba's types to specs, and a dispatcher for each.

Only rank and dtype are known there, so every dim is symbolic. The image's address is emitted
as a dynamic one, so that Numba refuses to cache callers, in which it would be stale.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphad.errors import GraphadError, NotCoveredError, TraceError
from graphad.njit.entry import python_entry
from graphad.spec import Dim, Spec
from graphad.trace import pytree

_KEPT: list[Any] = []


def spec_of(numba_type, name: str) -> Spec:
    """The spec of a Numba type; each dim is a symbol of its own."""
    from numba import types
    from numba.np.numpy_support import as_dtype

    if isinstance(numba_type, types.Array):
        dims = tuple(Dim.symbol(f"{name}_{a}") for a in range(numba_type.ndim))
        return Spec(dims, np.dtype(as_dtype(numba_type.dtype)))
    if isinstance(numba_type, types.Literal):
        numba_type = numba_type.literal_type
    if isinstance(numba_type, (types.Float, types.Integer, types.Boolean)):
        return Spec((), np.dtype(as_dtype(numba_type)))
    raise TraceError(
        "a call from @njit code", "an argument is neither an array nor a number",
        expected="arrays, numbers and bools", got=str(numba_type),
        fix="pass the arrays of a tuple or list one by one",
    )  # fmt: skip


def result_source(tree, outputs: int) -> str:
    """The expression that nests flat results r as the function returns them."""
    count = iter(range(outputs))

    def nested(t):
        if t is pytree.LEAF:
            return f"r[{next(count)}]" if outputs > 1 else "r"
        if t.kind not in ("tuple", "none"):
            raise TraceError(
                "a call from @njit code", f"a result is a {t.kind}",
                expected="arrays, scalars and tuples of them", got=t.kind,
                fix="return a tuple",
            )  # fmt: skip
        inside = ", ".join(nested(c) for c in t.children)
        return f"({inside}{',' if len(t.children) == 1 else ''})" if t.kind == "tuple" else "None"

    return nested(tree)


def specialised(function, specs: list[Spec]):
    """The njit dispatcher of a function for positional arguments of these specs."""
    import numba

    from graphad.njit import frame

    if function._device != "cpu":
        raise NotCoveredError(
            function.__name__, "a function on a GPU cannot be called from @njit code",
            where=function._where, expected="device='cpu'", got=f"device={function._device!r}",
            fix="ga.function(f) without device=, or a call from Python",
        )  # fmt: skip

    prepared = function._prepare(tuple(pytree.LEAF for _ in specs), specs)
    compiled = prepared.compiled
    inner = numba.njit(nogil=True, error_model="numpy")(
        python_entry(compiled.inputs, compiled.outputs)
    )
    names = [f"a{k}" for k in range(len(specs))]
    arguments = [f"image_address({compiled.image.address})", *[f"plain({n})" for n in names]]
    result = result_source(prepared.tree, len(compiled.outputs))
    # The address is a number of ours; no text of the user's is in this source.
    source = (
        f"def call({', '.join(names)}):\n"
        f"    r = inner({', '.join(arguments)})\n"
        f"    return {result}\n"
    )
    space = {"inner": inner, "image_address": frame.image_address, "plain": plain}
    exec(compile(source, "<graphad call>", "exec"), space)
    _KEPT.append(prepared)
    return numba.njit(nogil=True, error_model="numpy")(space["call"])


def plain(x):
    """The number in a 0-d array; anything else as it is."""
    return x


def _overload_plain():
    from numba import types
    from numba.extending import overload

    @overload(plain)
    def plain_of(x):
        if isinstance(x, types.Array) and x.ndim == 0:
            return lambda x: x[()]
        return lambda x: x


_overload_plain()


def dispatcher_for(function, specs_or_args):
    """The dispatcher of `f.njit(...)`: for the given specs or arrays, or for any types."""
    if not specs_or_args:
        return generic_dispatcher(function)
    specs = []
    for x in specs_or_args:
        if isinstance(x, Spec):
            specs.append(x)
        else:
            array = np.asarray(x)
            specs.append(Spec(array.shape, array.dtype))
    return specialised(function, specs)


def _signed(function, specs: list[Spec]) -> list[Spec]:
    """The function's own signature where it has one that fits these ranks and dtypes."""
    own = function._specs
    if own is None:
        return specs
    kinds = [(s.ndim, s.dtype) for s in specs]
    if kinds != [(s.ndim, s.dtype) for s in own]:
        raise TraceError(
            "a call from @njit code", "the arguments do not fit the signature",
            expected=", ".join(map(str, own)), got=", ".join(map(str, specs)),
            fix="change the signature or the arguments",
        )  # fmt: skip
    return list(own)


def generic_dispatcher(function):
    """One dispatcher that specialises at each call site on Numba's types."""
    found = function.__dict__.get("_dispatcher")
    if found is not None:
        return found
    import numba
    from numba.core.errors import TypingError
    from numba.extending import overload

    def target(*args):
        return function(*args)

    @overload(target)
    def implementation(*args):
        kinds = args[0] if len(args) == 1 and isinstance(args[0], tuple) else args
        try:
            specs = _signed(function, [spec_of(t, f"n{k}") for k, t in enumerate(kinds)])
            call = specialised(function, specs)
        except GraphadError as error:
            raise TypingError(
                f"{error}\n  in @njit code all dims are symbolic; where a number is needed give "
                "ga.function(signature=...) or call f.njit(ga.spec('3', 'f8'))"
            ) from error
        return lambda *args: call(*args)

    def entry(*args):
        return target(*args)

    function._dispatcher = numba.njit(nogil=True)(entry)
    return function._dispatcher
