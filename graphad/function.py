"""Function: a Python function that is traced, compiled and kept for each kind of argument.

A Function is a handle: a definition (what was given), its calls (`call/path.py`), and for a method
the object it belongs to. Calling it calls the native function of its gate, once there is one.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
import types
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from graphad.call.arguments import defined_at, prepare
from graphad.call.methods import Family, Weak, family_of, is_method
from graphad.call.parameters import Parameters, Structure, unknown_option
from graphad.call.path import MISSED, Calls
from graphad.call.signed import Signature
from graphad.errors import TraceError, Where
from graphad.pipeline import Lowered
from graphad.trace import pytree
from graphad.trace.run import signature_of, underlying


class Definition(NamedTuple):
    """What a Function was made of."""

    f: Callable
    name: str
    signature: inspect.Signature
    parameters: Parameters
    specs: Signature | None
    options: dict[str, Any]
    attributes: dict[str, Any]  # of the Function: its name, docstring and so on
    recipe: tuple | None = None  # (transform, f, options) that make it again

    @property
    def compiler_options(self) -> dict[str, Any]:
        """Those that say how code is made."""
        return {k: self.options[k] for k in ("cache", "fastmath", "parallel", "device")}

    def calls(self, on_native: Callable) -> Calls:
        """Where its calls go."""
        return Calls(self.f, self.parameters, self.specs, self.compiler_options, on_native)


def define(f: Callable, signature=None, static=(), name: str | None = None, device: str = "cpu",
           recipe: tuple | None = None, **options) -> Definition:  # fmt: skip
    """The definition of a Function of f."""
    python = underlying(f)
    if not callable(python):
        raise TraceError("ga.function", f"a {type(f).__name__} is not a function",
                         expected="a Python function", got=repr(f)[:60],
                         fix="ga.function(f), then call it with the arguments")  # fmt: skip
    name = str(name or getattr(python, "__name__", type(python).__name__))
    if device not in ("cpu", "cuda"):
        raise TraceError(name, "unknown device", expected="'cpu' or 'cuda'", got=repr(device),
                         fix="device='cuda'")  # fmt: skip
    shown = signature_of(python)
    parameters = Parameters(name, shown, static, defined_at(getattr(python, "__func__", python)))
    specs = None if signature is None else Signature(name, signature, device)
    unbound = python.function if isinstance(python, Weak) else python
    attributes = {
        "__name__": name,
        "__doc__": getattr(python, "__doc__", None),
        "__module__": getattr(python, "__module__", __name__),
        "__qualname__": getattr(python, "__qualname__", name),
        "__wrapped__": unbound,
    }
    given = {"signature": signature, "static": static, "name": name, "device": device, **options}
    return Definition(python, name, shown, parameters, specs, given, attributes, recipe)


class Function:
    """A NumPy function compiled for the shapes and dtypes it is called with.

    Made by `ga.function` and by the transforms. Works on arrays, numbers and pytrees of them,
    inside other traced functions, and inside `@njit` code.
    """

    if not TYPE_CHECKING:
        # `__call__` is a slot: a call of the instance is a call of the native function in it.
        __slots__ = (
            "__call__", "__dict__", "__weakref__", "_definition", "_family", "_keeps", "_made",
            "_own",
        )  # fmt: skip
    recognised_by_identity = True  # see call/recognise.py

    _definition: Definition
    _own: Calls | None  # its calls; of a method they are its family's
    _family: Family | None
    _keeps: Any  # the object of a method
    _made: dict[Any, Any]  # transforms of it

    if TYPE_CHECKING:
        __name__: str
        __qualname__: str

        def __call__(self, *args, **kwargs) -> Any:
            """The function's value."""

    def __init__(
        self,
        f: Callable,
        *,
        signature=None,
        static=(),
        name: str | None = None,
        parallel: bool | str = "auto",
        cache: bool = True,
        fastmath: bool = False,
        device: str = "cpu",
    ):
        options = {"parallel": parallel, "cache": cache, "fastmath": fastmath}
        if is_method(f):
            options |= {"signature": signature, "static": static, "name": name, "device": device}
            chosen = tuple((k, repr(v)) for k, v in options.items() if v != DEFAULTS[k])
            family = family_of(f.__self__, f.__func__, lambda weak: define(weak, **options),
                               (f.__func__, chosen))  # fmt: skip
            self._of_method(family, f.__self__)
            return
        self._stand_alone(define(f, signature, static, name, device, **options))

    def _stand_alone(self, definition: Definition) -> None:
        this = weakref.ref(self)

        def on_native(native):
            handle = this()
            if handle is not None:
                handle.__call__ = native

        self._definition, self._family, self._keeps, self._made = definition, None, None, {}
        self._own = definition.calls(on_native)
        self.__dict__ = dict(definition.attributes)
        self.__call__ = self._own.call

    def _of_method(self, family: Family, instance) -> None:
        self._definition, self._family, self._keeps, self._own = (
            family.definition, family, instance, None)  # fmt: skip
        self.__dict__, self._made = family.attributes, family.made
        bound = instance is not None
        self.__call__ = functools.partial(family.call_of, instance) if bound else family.call

    # -- what it is ------------------------------------------------------------------------------
    @property
    def _f(self) -> Callable:
        return self._definition.f

    @property
    def _where(self) -> Where | None:
        return self._definition.parameters.where

    @property
    def _python_signature(self) -> inspect.Signature:
        return self._definition.signature

    @property
    def _static(self) -> frozenset[str]:
        return self._definition.parameters.static

    @property
    def _device(self) -> str:
        return self._definition.options["device"]

    @property
    def _specs(self):
        specs = self._definition.specs
        return None if specs is None else specs.specs

    @property
    def _calls(self) -> Calls:
        return self._own if self._own is not None else self._family.member().calls  # type: ignore

    @property
    def __signature__(self):
        return self._python_signature

    def __repr__(self):
        return f"<graphad function {self.__name__}{self._python_signature}>"

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        family = family_of(instance, self._f, self._again_for, self)
        made = Function.__new__(Function)
        made._of_method(family, instance)
        return made

    def _again_for(self, weak: Weak) -> Definition:
        """The definition as a method."""
        return define(weak, **self._definition.options)

    # -- copies ----------------------------------------------------------------------------------
    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        if self._family is None:
            return self
        import copy

        made = memo[id(self)] = Function.__new__(Function)
        made.__setstate__(copy.deepcopy(self._state(), memo))
        return made

    def __reduce__(self):
        if self._definition.recipe is None and self._family is None:
            if _by_name(self):
                return (_named, (self.__module__, self.__qualname__))
            return (_blank, (), ("value", *_as_bytes(self._f), self._definition.options))
        return (_blank, (), self._state())

    def _state(self) -> tuple:
        """What makes it again; its object may hold it, and is written down after it."""
        if self._definition.recipe is not None:
            transform, f, options = self._definition.recipe
            if isinstance(f, Function):
                f = f._holding(self._keeps)
            return ("recipe", transform, f, options)
        method = types.MethodType(self._f.function, self._keeps)  # type: ignore[attr-defined]
        return ("method", method, self._definition.options)

    def _holding(self, instance) -> Function:
        """A handle on the same calls; of a method one that keeps this object alive."""
        made = Function.__new__(Function)
        if self._family is not None:
            made._of_method(self._family, instance)
        else:
            made._definition, made._family, made._keeps, made._own = (
                self._definition, None, None, self._own)  # fmt: skip
            made.__dict__, made._made = dict(self._definition.attributes), {}
            made.__call__ = self._own.call  # type: ignore[union-attr]
        return made

    def __setstate__(self, state):
        kind, f, *rest = state
        if kind == "recipe":
            made = f(rest[0], **rest[1])
        elif kind == "method":
            made = Function(f, **rest[0])
        else:
            import cloudpickle

            made = Function(cloudpickle.loads(f), **rest[0])
        if made._family is None:
            self._stand_alone(made._definition)
        else:
            self._of_method(made._family, made._keeps)

    # -- stages ----------------------------------------------------------------------------------
    def _prepare(self, children, specs):
        """The specialisation for positional arguments of these structures and specs, compiled."""
        return self._calls.specialisations.compiled(Structure(children), specs)

    def lower(self, *args, **kwargs) -> Lowered:
        """Every stage for these arguments (arrays, numbers or `ga.spec`s), without running.

        `.graph .program .source .llvm .memory .cost .sympy`; `str` of each reads well.
        """
        calls = self._calls
        leaves, structure = calls.parameters.split(args, kwargs)
        _, specs = calls.prepared(structure, leaves)
        return calls.specialisations.traced(structure, specs).lowered

    def bind(self, *values):
        """The function with its first arguments in place, as functools.partial, but faster.

        Their structure is taken apart once, so a call with many parameters costs little more than
        one with none. The arrays themselves are read at each call.

        >>> import numpy as np
        >>> weighted = function(lambda weights, x: weights["a"] @ x).bind({"a": np.ones(2)})
        >>> weighted(np.array([1.0, 2.0]))
        np.float64(3.0)
        """
        return Bound(self, values)

    def interpret(self, *args, **kwargs):
        """Run step by step in NumPy; prints the first node that makes a nan or inf.

        Returns what the function returns.
        """
        from graphad.reference import Finding, evaluate

        calls = self._calls
        leaves, structure = calls.parameters.split(args, kwargs)
        pairs = [prepare(self.__name__, x) for x in leaves]
        found = calls.specialisations.traced(structure, [s for _, s in pairs])
        finding = Finding()
        results = evaluate(found.lowered.traced, [x for x, _ in pairs], finding.watch)
        print(finding)
        results = [r if r.ndim else r[()] for r in results]
        return pytree.unflatten(found.tree, results)

    def njit(self, *specs_or_args):
        """The Numba dispatcher for these arguments, to be called from `@njit` code or Python."""
        from graphad.njit.typing import dispatcher_for

        return dispatcher_for(self, specs_or_args)

    @property
    def _numba_type_(self):
        from numba import types

        from graphad.njit.typing import generic_dispatcher

        return types.Dispatcher(generic_dispatcher(self))


class Bound:
    """A Function with its first arguments in place, made by `Function.bind`."""

    def __init__(self, f: Function, values):
        self._f, self._values = f, values
        self._leaves: list[Any] = []
        self._nesting = tuple([pytree.flatten(v, self._leaves, True)[1] for v in values])
        self._native: dict[int, Any] = {}  # by the number of further arguments, all of them leaves

    def __call__(self, *args):
        native = self._native.get(len(args))
        if native is not None:
            result = native(*self._leaves, *args)
            if result is not MISSED:
                return result
        result = self._f(*self._values, *args)
        nesting = (*self._nesting, *[pytree.LEAF] * len(args))
        nested = self._f._calls.nested
        if self._f._family is None and nesting in nested:
            self._native[len(args)] = nested[nesting][0]
        return result


def function(f=None, **options) -> Any:
    """Compile a NumPy function: `@ga.function`, or `ga.function(f, static='n', ...)`.

    Args:
        f: plain NumPy code, a bound method, a `functools.partial` or an `@njit` function.
        signature: `ga.spec`s, one for each array argument; with symbolic dims one compilation
            serves every size. A pytree of them for an argument that is one; `...` for an
            argument that is compiled for what it is called with.
        static: names or positions of arguments that are Python values, not traced.
        name: what graphs and errors call it.
        parallel: 'auto' splits large elementwise and row-wise loops among threads
            (GRAPHAD_NUM_THREADS, or all cores); False never. Results are the same bits.
        cache: whether kernels are kept on disk for other processes.
        fastmath: let LLVM reorder sums and products.
        device: 'cpu', or 'cuda' for a GPU (extra `cuda`; loops, products and straight-line code).

    Raises TraceError, ShapeError, DTypeError with the user's line where the code cannot be
    traced.

    >>> import numpy as np
    >>> @function
    ... def u(x, y):
    ...     return np.sin(x) * y, x * y**2
    >>> u(0.0, 2.0)
    (np.float64(0.0), np.float64(0.0))
    """
    for name in options:
        if name not in DEFAULTS:
            raise unknown_option("function", name)
    if f is None:
        return functools.partial(function, **options)
    if isinstance(f, Function) and not options:
        return f
    return Function(f, **options)


DEFAULTS = {
    name: p.default
    for name, p in inspect.signature(Function.__init__).parameters.items()
    if p.kind is p.KEYWORD_ONLY
}


def as_function(f) -> Function:
    """f as a Function."""
    return f if isinstance(f, Function) else Function(f)


def derived(g: Callable, f: Function, recipe: tuple | None = None) -> Function:
    """A Function made from another one: of the same static arguments, on the same device.

    If f is a method, it is one of the same object, in the same states.
    """
    options = DEFAULTS | {"static": tuple(f._static), "device": f._device}
    definition = define(g, recipe=recipe, **options)
    made = Function.__new__(Function)
    if f._family is None:
        made._stand_alone(definition)
    else:
        made._of_method(f._family.derived(definition), f._keeps)
    return made


def _by_name(f: Function) -> bool:
    """Whether this Function is found again by its module and name."""
    found: Any = sys.modules.get(f.__module__)
    for part in f.__qualname__.split("."):
        found = getattr(found, part, None)
    return isinstance(found, Function) and found._definition is f._definition


def _named(module: str, name: str) -> Any:
    """What a module calls so."""
    return functools.reduce(getattr, name.split("."), importlib.import_module(module))


_WRITING: set[int] = set()  # functions being pickled


def _as_bytes(f) -> tuple[bytes]:
    """A Python function, pickled by value."""
    import pickle

    import cloudpickle

    if id(f) in _WRITING:
        raise pickle.PicklingError(
            f"{getattr(f, '__name__', f)} is part of what it closes over; make it a method"
        )
    _WRITING.add(id(f))
    try:
        return (cloudpickle.dumps(f),)
    finally:
        _WRITING.discard(id(f))


def _blank() -> Function:
    """A Function that gets its state afterwards."""
    return Function.__new__(Function)
