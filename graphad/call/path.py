"""The path of a call: arguments, leaves, specialisation, plan, kernel, results.

A call takes its arguments apart into leaves and a structure (`parameters.py`), which with the
leaves' specs name a specialisation (`specialise.py`); this runs, by its `Compiled`. When a
specialisation is used again, a plan of it is put into a gate (`run/gate.py`), and later calls
go from the arguments to the kernel in one native function, past all that.
"""

from __future__ import annotations

import functools
import operator
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from graphad.call.arguments import prepare
from graphad.call.outputs import write_into
from graphad.call.parameters import Parameters
from graphad.call.signed import Signature
from graphad.call.specialise import Specialisation, Specialisations
from graphad.ops.value import lift
from graphad.run import gate
from graphad.run.gate_source import ALONE, BY_FUNCTION, TUPLE
from graphad.spec import Spec
from graphad.timings import timed
from graphad.trace import pytree
from graphad.trace.run import active
from graphad.trace.tensor import Tensor

MISSED = object()  # what a native call gives where no plan fits


def missed(*_):
    """The way out of a gate whose caller has another way."""
    return MISSED


class Calls:
    """The calls of one Python function."""

    def __init__(self, f: Callable, parameters: Parameters, signature: Signature | None,
                 options: dict[str, Any], on_native: Callable[[Any], None]):  # fmt: skip
        self.f, self.parameters, self.signature = f, parameters, signature
        self.device = options["device"]
        self.specialisations = Specialisations(f, parameters, options)
        self.nested: dict[Any, tuple[Any, gate.Table]] = {}  # gates by nesting of the arguments
        self._table: Any = None  # of the gate for plain arguments: a weak reference
        self._on_native = on_native  # told of that gate's native function, which keeps it alive

    def call(self, *args, **kwargs):
        """A call by way of Python: the first ones, those within a trace, and what no plan fits."""
        out = None if self.parameters.own_out else kwargs.pop("out", None)
        if self.nested and out is None and not kwargs:
            leaves: list[Any] = []
            found = self.nested.get(tuple([pytree.flatten(a, leaves, True)[1] for a in args]))
            if found is not None:
                result = found[0](*leaves)
                if result is not MISSED:
                    return result
        leaves, structure = self.parameters.split(args, kwargs)
        if any([isinstance(x, Tensor) for x in leaves]):
            return self.f(*args, **kwargs)
        like = active()
        if like is not None:  # within a trace everything is staged, values that f closes over too
            lifted = [lift(like, x, self.parameters.name) for x in leaves]
            args, kwargs = self.parameters.join(structure, lifted)
            return self.f(*args, **kwargs)
        prepared, specs = self.prepared(structure, leaves)
        found = self.specialisations.find(structure, specs)
        if found is None:
            found = self.specialisations.compiled(structure, specs)
        elif not found.remembered:  # a second call: there will be more
            found.remembered = True
            with timed("gate"):
                self._remember(args, kwargs, structure, leaves, found)
        compiled: Any = found.compiled
        if out is not None:
            return write_into(self.parameters.name, compiled, found.tree, prepared, out)
        return pytree.unflatten(found.tree, compiled.call(prepared))

    def prepared(self, structure, leaves) -> tuple[list, list[Spec]]:
        """The leaves as programs take them, and the specs to compile for."""
        name, prepared, specs = self.parameters.name, [], []
        for x in leaves:
            leaf, spec = (x, x) if isinstance(x, Spec) else prepare(name, x, self.device)
            prepared.append(leaf)
            specs.append(spec)
        if self.signature is not None:
            specs = self.signature.fit(structure, specs)
        return prepared, specs

    # -- gates -----------------------------------------------------------------------------------
    def _remember(self, args, kwargs, structure, leaves, found: Specialisation) -> None:
        """Let later calls with such arguments go straight to the program."""
        compiled: Any = found.compiled
        given = [*args, *kwargs.values()]
        if kwargs and not (len(given) == len(leaves) and all(map(operator.is_, given, leaves))):
            return
        if self.parameters.static or not hasattr(compiled, "image") or not gate.supported():
            return
        if structure.names is not None and not kwargs:
            return  # an option among the arguments
        if any(gate.kind_of(type(x)) is None for x in leaves):
            return
        if any(type(x) is np.ndarray and x.ndim == 0 for x in leaves):
            return
        dtypes = [x.dtype if hasattr(x, "dtype") else np.dtype(type(x)) for x in leaves]
        if any(d != s.dtype for d, s in zip(dtypes, compiled.inputs, strict=True)):
            return  # a Python number that a signature gives another dtype, or the other byte order
        tree, finish, nest = found.tree, None, BY_FUNCTION
        if tree is pytree.LEAF:
            nest = ALONE
        elif tree.kind == "tuple" and all(c is pytree.LEAF for c in tree.children):
            nest = TUPLE
        else:
            finish = functools.partial(pytree.unflatten, tree)
        plan = compiled.plan([type(x) for x in leaves], nest, finish, names=tuple(kwargs))
        with self.specialisations.lock.own:
            self._table_for(args).add(plan)

    def _table_for(self, args) -> gate.Table:
        """The table of plans for arguments nested like these."""
        nesting = tuple([pytree.flatten(a, None, True)[1] for a in args])
        if all(t is pytree.LEAF for t in nesting):
            table = self._table and self._table()
            if table is None:
                native, table = gate.make_gate(self.call, takes_out=not self.parameters.own_out)
                self._table = weakref.ref(table)
                self._on_native(native)
            return table
        if nesting not in self.nested:
            if len(self.nested) > gate.MOST_PLANS:
                self.nested.clear()
            self.nested[nesting] = gate.make_gate(missed)
        return self.nested[nesting][1]
