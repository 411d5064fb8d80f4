"""Tensor: the traced value that user code sees, with NumPy's protocols and methods."""

from __future__ import annotations

import operator as operator_module
import sys
from typing import Any

import numpy as np

from graphad.errors import GraphadError, NoAttributeError, NotCoveredError, TraceError
from graphad.op import TABLE
from graphad.ops import (
    indexing,
    numpy_math,
    numpy_order,
    numpy_products,
    numpy_shape,
    numpy_stats,
    rounding,
)
from graphad.ops.value import Composite, Value, convert, lift, operator, zeros_like
from graphad.spec import _needs_number
from graphad.trace import coercion
from graphad.trace.instead import OF_ARRAYS, instead

_REDUCE = {
    np.add: numpy_math.sum_,
    np.multiply: numpy_math.prod,
    np.maximum: numpy_math.amax,
    np.minimum: numpy_math.amin,
}


def _name(f) -> str:
    module = "scipy.special" if _is_scipys(f) else getattr(f, "__module__", None) or "numpy"
    return f"{module.replace('numpy', 'np', 1)}.{getattr(f, '__name__', f)}"


def not_covered(f) -> NotCoveredError:
    """The error for a call that is not in the table, with what does the same."""
    return NotCoveredError(
        _name(f), "this call is not covered", expected="a function that graphad traces",
        got=_name(f), fix=instead(_name(f)),
    )  # fmt: skip


ASSEMBLE = "np.stack or np.array([...]) to assemble; z.at[i].set(v) on a traced z"


def _in_place(operation):
    return TraceError(
        operation,
        "a NumPy array cannot be changed by a traced value",
        expected="an expression that makes a new array",
        got="an assignment into an existing one",
        fix="np.broadcast_to(x, shape) for np.full(shape, x)"
        if operation == "np.copyto"
        else f"z = z + x instead of z += x; {ASSEMBLE}",
    )


def covered(name: str, implementation, args, kwargs):
    """Call an implementation; an argument that it does not take is an error that says so."""
    try:
        return implementation(*args, **kwargs)
    except TypeError as error:
        if isinstance(error, GraphadError) or "argument" not in str(error):
            raise
        raise NotCoveredError(
            name, "an argument is not covered", expected="the covered arguments",
            got=str(error), fix="leave that argument out",
        ) from None  # fmt: skip


def _is_scipys(f) -> bool:
    """Whether this is a ufunc of scipy.special."""
    module = sys.modules.get("scipy.special._ufuncs")
    return isinstance(f, np.ufunc) and getattr(module, f.__name__, None) is f


def _of_scipy(ufunc):
    """What traces a ufunc of scipy.special, or None."""
    return TABLE.scipy.get(ufunc.__name__) if _is_scipys(ufunc) else None


class Tensor(Value):
    """A value being traced. Works with operators, indexing and the covered part of NumPy."""

    __slots__ = ()
    __array_priority__ = 1000

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        """NumPy's ufuncs on traced values."""
        if any(isinstance(x, Composite) for x in inputs):
            return NotImplemented
        if out is not None and any(o is not None for o in out):
            raise _in_place(_name(ufunc))
        if method == "reduce" and ufunc in _REDUCE:
            options.setdefault("axis", 0)
            options.pop("initial", None)
            return _REDUCE[ufunc](*inputs, **options)
        if method == "accumulate" and ufunc is np.add:
            return numpy_math.cumsum(*inputs, axis=options.get("axis", 0))
        if method == "outer" and len(inputs) == 2:
            a, b = (lift(self, x) for x in inputs)
            grown = numpy_shape.reshape(a, a.shape + (1,) * b.ndim) if b.ndim else a
            return TABLE.numpy[ufunc](grown, b)
        traced = TABLE.numpy.get(ufunc) or _of_scipy(ufunc)
        if method != "__call__" or traced is None:
            raise not_covered(ufunc)
        if options.pop("where", True) is not True:
            raise TraceError(
                _name(ufunc), "the where argument is not covered", expected="no where=",
                got="where=", fix="np.where(mask, f(x), x)",
            )  # fmt: skip
        for name in ("casting", "order", "subok"):
            options.pop(name, None)
        return covered(_name(ufunc), traced, inputs, options)

    def __array_function__(self, func, types, args, kwargs):
        """NumPy's other functions on traced values."""
        if any(issubclass(t, Composite) for t in types):
            return NotImplemented
        if func is np.copyto:
            raise _in_place("np.copyto")
        if func in (np.array, np.asarray, np.asanyarray, np.ascontiguousarray):
            return lift(self, args[0])
        implementation = TABLE.numpy.get(func)
        if implementation is None:
            raise not_covered(func)
        if kwargs.get("out") is not None:
            raise _in_place(_name(func))
        return covered(_name(func), implementation, args, kwargs)

    @property
    def __array_interface__(self):
        """What NumPy asks for where it turns something into an array."""
        return coercion.asked(self)

    def __getitem__(self, key):
        return indexing.index(self, key)

    def _changed(self, other, name: str, operation):
        """`x += v`: of an argument NumPy would change the caller's array, too."""
        if self.ndim and _of_an_argument(self):
            raise TraceError(
                f"x {name}= v", "x is an argument, and the caller's array would not change",
                expected="an expression that makes a new array", got=f"x {name}= v",
                fix=f"x = x {name} v",
            )  # fmt: skip
        return operation(self, other)

    def __format__(self, spec: str) -> str:
        if spec:
            raise TraceError(
                "a format string", "a traced value has no digits to show while tracing",
                expected="a number", got=f"{self!r} with the format {spec!r}",
                fix="format the result of the call, or return the value and format that",
            )  # fmt: skip
        return repr(self)

    def __setitem__(self, key, value):
        raise TraceError(
            "x[i] = v",
            "a traced value is never changed in place",
            expected="an expression",
            got="an assignment",
            fix="x = x.at[i].set(v)",
        )

    @property
    def at(self) -> indexing.At:
        """`x.at[i].set(v)`, `add`, `multiply`, `max`, `min`: a changed copy of x."""
        return indexing.At(self)

    def __len__(self):
        if self.ndim == 0:
            raise TypeError("len() of a traced scalar")
        if not isinstance(self.shape[0], int):
            raise _needs_number(self.shape[0], "len()")
        return self.shape[0]

    def __iter__(self):
        for i in range(len(self)):
            yield indexing.index(self, i)

    def __matmul__(self, other):
        if isinstance(other, Composite):
            return NotImplemented
        return numpy_products.matmul(self, other)

    def __rmatmul__(self, other):
        return numpy_products.matmul(other, self)

    def _concrete(self, use, fix):
        raise TraceError(
            use,
            "a traced value has no number yet",
            expected="a Python number",
            got=f"a traced {self.spec}",
            fix=fix,
        )

    def __bool__(self):
        self._concrete(
            "if or while on a traced value",
            "np.where(condition, a, b), or ga.cond, ga.while_loop; or make the argument static: "
            "ga.function(static='name'); for max and min of a list, np.max(np.stack([...]))",
        )

    def __float__(self):
        self._concrete("float(x)", "leave it an array, or make the argument static")

    def __int__(self):
        self._concrete("int(x)", "x.astype('int64'), or make the argument static")

    def __complex__(self):
        self._concrete("complex(x)", "graphad has no complex numbers")

    def __index__(self):
        self._concrete(
            "a traced value as an index of a list or array",
            "index a traced array: ga.function arguments are, np.asarray(table, like=i) makes one, "
            "or np.stack(list)[i]",
        )

    def item(self):
        """A traced value has no number: always an error that says so."""
        self._concrete("x.item()", "return the value from the function")

    tolist = item

    def __floordiv__(self, other):
        return operator("floor_divide", self, other)

    def __rfloordiv__(self, other):
        return operator("floor_divide", other, self)

    def __mod__(self, other):
        return operator("remainder", self, other)

    def __rmod__(self, other):
        return operator("remainder", other, self)

    def __divmod__(self, other):
        return self // other, self % other

    def __rdivmod__(self, other):
        return other // self, other % self

    def __round__(self, digits=0):
        return rounding.rounded(self, digits)

    @property
    def T(self) -> Any:
        """Axes reversed."""
        return numpy_shape.permute(self)

    @property
    def mT(self) -> Any:
        """The last two axes swapped."""
        return numpy_shape.swapaxes(self, -1, -2)

    @property
    def real(self):
        """The value: a traced value is real."""
        return self

    @property
    def imag(self):
        """Zeros."""
        return zeros_like(self)

    @property
    def flat(self):
        """The elements in order."""
        return (indexing.index(self.reshape(-1), i) for i in range(self.size))

    def astype(self, dtype, copy=True):
        """In another dtype."""
        return convert(self, dtype)

    def reshape(self, *shape, order="C"):
        """As ndarray.reshape."""
        whole = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        return numpy_shape.reshape(self, whole, order)

    def transpose(self, *axes):
        """As ndarray.transpose."""
        whole = axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes
        return numpy_shape.permute(self, whole or None)

    def __getattr__(self, name: str) -> Any:
        if not hasattr(np.ndarray, name) or name.startswith("__"):
            raise AttributeError(f"a traced value has no attribute {name!r}, nor has an array")
        function = f"np.{name}(x)" if getattr(np, name, None) in TABLE.numpy else None
        raise NoAttributeError(
            f"x.{name}", "a traced value does not have this of arrays",
            expected="attributes and methods that docs/operations.md lists", got=f"x.{name}",
            fix=OF_ARRAYS.get(name) or function or instead(f"np.{name}"),
        )  # fmt: skip

    def __array_namespace__(self, api_version=None):
        return np


def _method(name, implementation):
    def method(self, *args, **kwargs):
        return covered(f"x.{name}", implementation, (self, *args), kwargs)

    method.__name__ = name
    method.__doc__ = f"As ndarray.{name}."
    setattr(Tensor, name, method)


# NumPy's functions on an object array, as np.array([x, y]) makes one of traced values, call
# methods of the elements that are named like the ufuncs.
for _ufunc, _implementation in list(TABLE.numpy.items()):
    if isinstance(_ufunc, np.ufunc) and not hasattr(Tensor, _ufunc.__name__):
        _method(_ufunc.__name__, _implementation)
_method("conjugate", lambda x: x)

for _n, _f in {
    "sum": numpy_math.sum_, "prod": numpy_math.prod, "mean": numpy_math.mean,
    "var": numpy_math.var, "std": numpy_math.std, "max": numpy_math.amax,
    "min": numpy_math.amin, "argmax": numpy_math.argmax, "argmin": numpy_math.argmin,
    "cumsum": numpy_math.cumsum, "clip": numpy_math.clip, "dot": numpy_products.dot,
    "trace": numpy_math.trace, "ravel": numpy_shape.ravel, "flatten": numpy_shape.ravel,
    "swapaxes": numpy_shape.swapaxes, "squeeze": numpy_shape.squeeze,
    "repeat": numpy_shape.repeat, "take": numpy_shape.take, "diagonal": numpy_shape.diagonal,
    "copy": numpy_shape.copy, "any": numpy_order.any_, "all": numpy_order.all_,
    "cumprod": numpy_stats.cumprod, "round": numpy_stats.round_,
    "argsort": numpy_order.argsort, "searchsorted": numpy_order.searchsorted,
}.items():  # fmt: skip
    _method(_n, _f)


def _of_an_argument(x: Tensor) -> bool:
    """Whether a value is an argument of the traced function, or a view of one."""
    nodes, at = x.builder.nodes, x.id
    while nodes[at].op.lowering == "view" and nodes[at].op.name not in ("stop_gradient", "barrier"):
        at = nodes[at].args[0]
    return nodes[at].op.name == "input"


def _in_place_operator(name: str, operation):
    return lambda self, other: self._changed(other, name, operation)


for _name_of, _sign, _operation in (
    ("iadd", "+", operator_module.add), ("isub", "-", operator_module.sub),
    ("imul", "*", operator_module.mul), ("itruediv", "/", operator_module.truediv),
    ("ipow", "**", operator_module.pow), ("ifloordiv", "//", operator_module.floordiv),
    ("imod", "%", operator_module.mod), ("imatmul", "@", operator_module.matmul),
    ("iand", "&", operator_module.and_), ("ior", "|", operator_module.or_),
    ("ixor", "^", operator_module.xor), ("ilshift", "<<", operator_module.lshift),
    ("irshift", ">>", operator_module.rshift),
):  # fmt: skip
    setattr(Tensor, f"__{_name_of}__", _in_place_operator(_sign, _operation))
