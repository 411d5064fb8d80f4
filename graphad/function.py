"""Function: a Python function that is traced, compiled and kept for each kind of argument."""

from __future__ import annotations

import functools
import inspect
import operator
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from graphad.arguments import Static, as_spec, defined_at, positional_names, prepare, static_names
from graphad.errors import ShapeError, TraceError
from graphad.ops.value import lift
from graphad.pipeline import Compiled, Lowered
from graphad.runtime import gate
from graphad.spec import Dim, Spec
from graphad.timings import timed
from graphad.trace import pytree
from graphad.trace.guards import clear_errors, no_random_numbers
from graphad.trace.run import active, signature_of, trace, underlying
from graphad.trace.tensor import Tensor

_MISSED = object()  # what a native call gives where no plan fits


class Prepared:
    """One specialisation: the program, and how its results are put together."""

    def __init__(self, compiled: Compiled, tree):
        self.compiled = compiled
        self.tree = tree
        self.single = tree is pytree.LEAF
        self.remembered = False  # whether calls go past this class


class Function:
    """A NumPy function compiled for the shapes and dtypes it is called with.

    Made by `ga.function` and by the transforms. Works on arrays, numbers and pytrees of them,
    inside other traced functions, and inside `@njit` code.
    """

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
        self._f = underlying(f)
        self._where = defined_at(self._f)
        self.__wrapped__ = self._f
        self.__name__ = name or getattr(self._f, "__name__", type(self._f).__name__)
        self.__doc__ = getattr(self._f, "__doc__", None)
        self.__module__ = getattr(self._f, "__module__", __name__)
        self.__qualname__ = getattr(self._f, "__qualname__", self.__name__)
        self._python_signature = signature_of(self._f)
        self._static = static_names(self._python_signature, static)
        if device not in ("cpu", "cuda"):
            raise TraceError(self.__name__, "unknown device", expected="'cpu' or 'cuda'",
                             got=repr(device), fix="device='cuda'")  # fmt: skip
        if signature is not None and not isinstance(signature, (tuple, list)):
            signature = (signature,)
        self._specs = None if signature is None else tuple(as_spec(s) for s in signature)
        self._options = {
            "signature": signature, "static": static, "name": name,
            "parallel": parallel, "cache": cache, "fastmath": fastmath, "device": device,
        }  # fmt: skip
        self._device = device
        self._recipe: tuple | None = None
        self._known: dict[Any, Prepared] = {}
        self._lowered: dict[Any, tuple[Lowered, Any]] = {}
        self._tables: dict[Any, gate.Table] = {}  # by nesting of the arguments; None: no nesting
        self._nested: dict[Any, Any] = {}
        self._lock = threading.RLock()
        self._bound: dict[int, Any] = {}

    @property
    def __signature__(self):
        return self._python_signature

    def __repr__(self):
        return f"<graphad function {self.__name__}{self._python_signature}>"

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        found = self._bound.get(id(instance))
        if found is None or found[0] is not instance:
            bound = Function(self._f.__get__(instance, owner), **self._options)
            found = self._bound[id(instance)] = (instance, bound)
        return found[1]

    def __reduce__(self):
        if self._recipe is not None:
            return (_by_recipe, self._recipe)
        if _by_name(self):
            return self.__qualname__
        import cloudpickle

        return (_by_value, (cloudpickle.dumps(self._f), self._options))

    # -- calls -----------------------------------------------------------------------------------
    def __call__(self, *args, out=None, **kwargs):
        if self._nested and out is None and not kwargs:
            leaves: list[Any] = []
            native = self._nested.get(tuple([pytree.flatten(a, leaves)[1] for a in args]))
            if native is not None:
                result = native(*leaves)
                if result is not _MISSED:
                    return result
        if out is not None and "out" in self._python_signature.parameters:
            kwargs["out"], out = out, None  # the function's own parameter
        return self._call(args, kwargs, out)

    def _call(self, args, kwargs, out):
        leaves, tree = self._flatten(args, kwargs)
        if any(isinstance(x, Tensor) for x in leaves):
            return self._f(*args, **kwargs)
        like = active()
        if like is not None:  # within a trace everything is staged, values that f closes over too
            args, kwargs = self._rebuilt(tree, [lift(like, x, self.__name__) for x in leaves])
            return self._f(*args, **kwargs)
        prepared_leaves, specs = [], []
        for x in leaves:
            leaf, spec = prepare(self.__name__, x, self._device)
            prepared_leaves.append(leaf)
            specs.append(spec)
        specs = self._signed(specs)
        key = (tree, tuple(specs))
        prepared = self._known.get(key)
        if prepared is None:
            prepared = self._prepare(key, tree, specs)
        elif not prepared.remembered:  # a second call: there will be more
            prepared.remembered = True
            with timed("gate"):
                self._remember(args, kwargs, leaves, prepared)
        if out is not None:
            return self._into(prepared, prepared_leaves, out)
        return pytree.unflatten(prepared.tree, prepared.compiled.call(prepared_leaves))

    def _remember(self, args, kwargs, leaves, prepared: Prepared):
        """Let later calls with such arguments go straight to the program, past this class."""
        given = [*args, *kwargs.values()]
        if kwargs and not (len(given) == len(leaves) and all(map(operator.is_, given, leaves))):
            return
        if self._static or not gate.supported() or not hasattr(prepared.compiled, "image"):
            return
        if any(gate.kind_of(type(x)) is None for x in leaves):
            return
        if any(type(x) is np.ndarray and x.ndim == 0 for x in leaves):
            return
        compiled, tree = prepared.compiled, prepared.tree
        dtypes = [x.dtype if hasattr(x, "dtype") else np.dtype(type(x)) for x in leaves]
        if any(d != s.dtype for d, s in zip(dtypes, compiled.inputs, strict=True)):
            return  # a Python number that a signature gives another dtype
        nest, finish = gate.BY_FUNCTION, None
        if prepared.single:
            nest = gate.ALONE
        elif tree.kind == "tuple" and all(c is pytree.LEAF for c in tree.children):
            nest = gate.TUPLE
        else:
            finish = functools.partial(pytree.unflatten, tree)
        plan = gate.make_plan(compiled.image, compiled.inputs, compiled.outputs,
                              [type(x) for x in leaves], nest, finish,
                              names=tuple(kwargs))  # fmt: skip
        with self._lock:
            self._table_for(args, leaves).add(plan, finish, compiled, *map(sys.intern, kwargs))

    def _table_for(self, args, leaves) -> gate.Table:
        """The table of plans for arguments nested like these."""
        nesting = tuple([pytree.flatten(a)[1] for a in args])
        table = self._tables.get(nesting)
        if table is not None:
            return table
        if all(t is pytree.LEAF for t in nesting):
            nesting = None
            table = self._tables.get(None)
            if table is None:
                own_out = "out" in self._python_signature.parameters
                again = functools.partial(Function.__call__, self)
                native, table = gate.make_gate(again, takes_out=not own_out)
                # A class of its own: a call of the instance is a call of the native function.
                own = {"__call__": native, "__module__": Function.__module__}
                this: Any = self
                this.__class__ = type("Function", (Function,), own)
        else:
            native, table = gate.make_gate(lambda *leaves: _MISSED)
            self._nested[nesting] = native
        self._tables[nesting] = table
        return table

    def _into(self, prepared: Prepared, leaves, out):
        given, tree = pytree.flatten(out)
        specs = [
            prepared.compiled.lowered.program.buffers[o].spec
            for o in prepared.compiled.lowered.program.outputs
        ]
        if tree != prepared.tree:
            raise ShapeError(
                f"{self.__name__}(out=)", "out has another structure than the result",
                expected=str(prepared.tree), got=str(tree), fix="pass one array for each result",
            )  # fmt: skip
        for array, spec in zip(given, specs, strict=True):
            fits = isinstance(array, np.ndarray) and array.dtype == spec.dtype
            if not fits or array.ndim != spec.ndim or (
                all(isinstance(d, int) for d in spec.shape) and array.shape != spec.shape
            ):  # fmt: skip
                raise ShapeError(
                    f"{self.__name__}(out=)", "out does not fit the result", expected=str(spec),
                    got=f"{getattr(array, 'dtype', type(array).__name__)}{np.shape(array)}",
                    fix=f"np.empty({spec.shape}, '{spec.dtype}')",
                )  # fmt: skip
        leaves = [
            np.array(x)
            if isinstance(x, np.ndarray) and any(np.may_share_memory(x, o) for o in given)
            else x
            for x in leaves
        ]
        # Nothing is written where the call may still refuse its arguments.
        safe = not getattr(prepared.compiled, "may_refuse", False)
        direct = [
            o if safe and o.flags.c_contiguous and o.flags.writeable else np.empty(o.shape, o.dtype)
            for o in given
        ]
        arrays = [d for d in direct if d.ndim]
        results = prepared.compiled.call(leaves, arrays)
        for d, r in zip(direct, results, strict=True):
            if d.ndim == 0:
                d[...] = r
        for o, d in zip(given, direct, strict=True):
            if o is not d:
                o[...] = d
        return out

    def _flatten(self, args, kwargs) -> tuple[list, Any]:
        """Leaves of a call, and its structure with the static arguments in it."""
        if not self._static and not kwargs:
            leaves: list[Any] = []
            children = tuple(pytree.flatten(a, leaves)[1] for a in args)
            return leaves, (children, (), ())
        bound = self._python_signature.bind(*args, **kwargs)
        statics, dynamic = [], {}
        for name, value in bound.arguments.items():
            if name in self._static:
                try:
                    hash(value)
                except TypeError:
                    raise TraceError(
                        self.__name__, f"the static argument '{name}' is not hashable",
                        expected="a hashable value, e.g. a tuple",
                        got=type(value).__name__, fix=f"{name}=tuple(...)",
                    ) from None  # fmt: skip
                statics.append((name, Static(value)))
            else:
                dynamic[name] = value
        leaves, tree = pytree.flatten(dynamic)
        return leaves, ((tree,), tuple(statics), ("bound",))

    def _rebuilt(self, tree, leaves):
        """args, kwargs of a call from its structure and leaves."""
        children, statics, bound = tree
        if not bound:
            it = iter(leaves)
            return [pytree._build(c, it) for c in children], {}
        dynamic = pytree.unflatten(children[0], leaves)
        dynamic |= {name: s.value for name, s in statics}
        order = {n: dynamic[n] for n in self._python_signature.parameters if n in dynamic}
        call = inspect.BoundArguments(self._python_signature, order)  # type: ignore[arg-type]
        return call.args, call.kwargs

    def _signed(self, specs):
        """The specs of the signature, where one is given and fits."""
        if self._specs is None:
            return specs
        if len(specs) != len(self._specs):
            raise ShapeError(
                self.__name__, "the signature has another number of arrays than the call",
                expected=f"{len(self._specs)}", got=f"{len(specs)}",
                fix="one ga.spec for each array argument",
            )  # fmt: skip
        known: dict[str, int] = {}
        for want, got in zip(self._specs, specs, strict=True):
            fits = want.ndim == got.ndim and (want.dtype == got.dtype or got.weak)
            for w, g in zip(want.shape, got.shape, strict=False):
                if isinstance(w, Dim):
                    name = w.terms[0][0][0]
                    fits = fits and known.setdefault(name, g) == g
                else:
                    fits = fits and w == g
            if not fits:
                raise ShapeError(
                    self.__name__, "an argument does not fit the signature", expected=str(want),
                    got=f"{got}, with {known}" if known else str(got),
                    fix="change the signature, or cast and reshape the argument",
                )  # fmt: skip
        if self._device != "cpu":  # compiled for each size there
            return [Spec(g.shape, w.dtype) for w, g in zip(self._specs, specs, strict=True)]
        return list(self._specs)

    # -- compilation -----------------------------------------------------------------------------
    def _prepare(self, key, tree, specs) -> Prepared:
        with self._lock:
            prepared = self._known.get(key)
            if prepared is None:
                lowered, out_tree = self._lower(key, tree, specs)
                prepared = self._known[key] = Prepared(lowered.compile(), out_tree)
            return prepared

    def _lower(self, key, tree, specs) -> tuple[Lowered, Any]:
        found = self._lowered.get(key)
        if found is None:
            names = self._leaf_names(tree)

            def run(tensors):
                args, kwargs = self._rebuilt(tree, tensors)
                with no_random_numbers(self._f), clear_errors():
                    return self._f(*args, **kwargs)

            with timed("trace"):
                graph, out_tree = trace(run, specs, names, self._where)
            options = {k: self._options[k] for k in ("cache", "fastmath", "parallel", "device")}
            ours = (getattr(self._f, "__module__", None) or "").startswith("graphad.")
            lowered = Lowered(graph, self.__name__, **options, ours=ours)
            found = self._lowered[key] = (lowered, out_tree)
        return found

    def _leaf_names(self, tree) -> list[str]:
        children, _, bound = tree
        if bound:
            pairs = list(zip(children[0].extra, children[0].children, strict=True))
        else:
            names = positional_names(self._python_signature, len(children))
            pairs = list(zip(names, children, strict=True))
        return [
            n if pytree.count(c) == 1 else f"{n}.{i}"
            for n, c in pairs
            for i in range(pytree.count(c))
        ]

    def _lowered_for(self, args, kwargs) -> tuple[Lowered, list]:
        leaves, tree = self._flatten(args, kwargs)
        pairs = [
            (x, x) if isinstance(x, Spec) else prepare(self.__name__, x, self._device)
            for x in leaves
        ]
        specs = self._signed([s for _, s in pairs])
        lowered, _ = self._lower((tree, tuple(specs)), tree, specs)
        return lowered, [x for x, _ in pairs]

    def lower(self, *args, **kwargs) -> Lowered:
        """Every stage for these arguments (arrays, numbers or `ga.spec`s), without running.

        `.graph .program .source .llvm .memory .cost .sympy`; `str` of each reads well.
        """
        return self._lowered_for(args, kwargs)[0]

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

        leaves, tree = self._flatten(args, kwargs)
        pairs = [prepare(self.__name__, x) for x in leaves]
        specs = [s for _, s in pairs]
        lowered, out_tree = self._lower((tree, tuple(specs)), tree, specs)
        finding = Finding()
        results = evaluate(lowered.traced, [x for x, _ in pairs], finding.watch)
        print(finding)
        results = [r if r.ndim else r[()] for r in results]
        return pytree.unflatten(out_tree, results)

    def njit(self, *specs_or_args):
        """The Numba dispatcher for these arguments, to be called from `@njit` code or Python."""
        from graphad.runtime.typing import dispatcher_for

        return dispatcher_for(self, specs_or_args)

    @property
    def _numba_type_(self):
        from numba import types

        from graphad.runtime.typing import generic_dispatcher

        return types.Dispatcher(generic_dispatcher(self))


class Bound:
    """A Function with its first arguments in place, made by `Function.bind`."""

    def __init__(self, f: Function, values):
        self._f, self._values = f, values
        self._leaves: list[Any] = []
        self._nesting = tuple([pytree.flatten(v, self._leaves)[1] for v in values])
        self._native: dict[int, Any] = {}  # by the number of further arguments, all of them leaves

    def __call__(self, *args):
        native = self._native.get(len(args))
        if native is not None:
            result = native(*self._leaves, *args)
            if result is not _MISSED:
                return result
        result = self._f(*self._values, *args)
        nesting = (*self._nesting, *[pytree.LEAF] * len(args))
        if nesting in self._f._nested:
            self._native[len(args)] = self._f._nested[nesting]
        return result


def function(f=None, **options) -> Any:
    """Compile a NumPy function: `@ga.function`, or `ga.function(f, static='n', ...)`.

    Args:
        f: plain NumPy code, a bound method, a `functools.partial` or an `@njit` function.
        signature: `ga.spec`s, one for each array argument; with symbolic dims one compilation
            serves every size.
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
    if f is None:
        return functools.partial(function, **options)
    if isinstance(f, Function) and not options:
        return f
    return Function(f, **options)


def as_function(f) -> Function:
    """f as a Function."""
    return f if isinstance(f, Function) else Function(f)


def derived(g: Callable, f: Function) -> Function:
    """A Function made from another one: of the same static arguments, on the same device."""
    return Function(g, static=tuple(f._static), device=f._device)


def _by_name(f):
    """Whether pickle finds this object again by its module and name."""
    import sys

    found: Any = sys.modules.get(f.__module__)
    for part in f.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is f


def _by_value(code: bytes, options) -> Function:
    """A Function from its pickled Python function."""
    import cloudpickle

    return Function(cloudpickle.loads(code), **options)


def _by_recipe(transform, args, options) -> Any:
    """A derived Function made again."""
    return transform(*args, **options)
