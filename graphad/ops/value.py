"""Value: a node of a growing graph with arithmetic. Rules and traced user code both use it.

Operands of an elementwise node have equal shapes and dtypes: `apply` promotes and broadcasts,
by nodes of their own, so un-broadcasting in reverse mode is the transpose of `broadcast`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphad.errors import DTypeError, ShapeError, TraceError
from graphad.graph import Builder
from graphad.op import TABLE, find
from graphad.spec import Spec, broadcast_shapes, check_dtype, promote, size_of

F8 = np.dtype("f8")


class Composite:
    """What is made of several Values and has operators of its own."""


class Value:
    """A node of `builder`; arithmetic on it adds nodes."""

    __slots__ = ("builder", "id")

    def __init__(self, builder: Builder, node: int):
        self.builder = builder
        self.id = node

    @property
    def spec(self) -> Spec:
        """Shape and dtype."""
        return self.builder.nodes[self.id].spec

    @property
    def shape(self) -> tuple:
        """Sizes of the axes: ints, or Dims when symbolic."""
        return self.spec.shape

    @property
    def dtype(self) -> np.dtype:
        """Element type."""
        return self.spec.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.spec.shape)

    @property
    def size(self):
        """Number of elements."""
        return self.spec.size

    def __add__(self, other):
        return operator("add", self, other)

    def __radd__(self, other):
        return operator("add", other, self)

    def __sub__(self, other):
        return operator("sub", self, other)

    def __rsub__(self, other):
        return operator("sub", other, self)

    def __mul__(self, other):
        return operator("mul", self, other)

    def __rmul__(self, other):
        return operator("mul", other, self)

    def __truediv__(self, other):
        return operator("div", self, other)

    def __rtruediv__(self, other):
        return operator("div", other, self)

    def __pow__(self, other):
        return operator("power", self, other)

    def __rpow__(self, other):
        return operator("power", other, self)

    def __neg__(self):
        return operator("neg", self)

    def __pos__(self):
        return self

    def __abs__(self):
        return operator("abs", self)

    def __lt__(self, other):
        return operator("less", self, other)

    def __le__(self, other):
        return operator("less_equal", self, other)

    def __gt__(self, other):
        return operator("greater", self, other)

    def __ge__(self, other):
        return operator("greater_equal", self, other)

    def __eq__(self, other):  # type: ignore[override]
        return operator("equal", self, other)

    def __ne__(self, other):  # type: ignore[override]
        return operator("not_equal", self, other)

    __hash__ = object.__hash__

    def __repr__(self):
        return f"<{self.spec} %{self.id}>"


def add(like: Value, op: str, args: Sequence[Value], **params) -> Value:
    """Append a node whose operands already have equal shapes and dtypes."""
    return type(like)(like.builder, like.builder.add(op, [a.id for a in args], **params))


def const(like: Value, value, spec: Spec) -> Value:
    """`value` in every element of an array of this spec."""
    kind = spec.dtype.kind
    value = float(value) if kind == "f" else bool(value) if kind == "b" else int(value)
    if kind == "f" and spec.dtype.itemsize == 4:
        with np.errstate(over="ignore"):
            value = float(np.float32(value))
    return type(like)(like.builder, like.builder.add("const", (), spec, value=value))


def full(like: Value, value, shape=None, dtype=None) -> Value:
    """A constant array; by default of the shape and dtype of `like`."""
    shape = like.shape if shape is None else tuple(shape)
    return const(like, value, Spec(shape, np.dtype(like.dtype if dtype is None else dtype)))


def zeros_like(x: Value, spec: Spec | None = None) -> Value:
    """Zeros of the spec of x, or of another."""
    spec = x.spec if spec is None else spec
    return const(x, 0, Spec(spec.shape, spec.dtype))


def const_value(x: Value) -> Any:
    """The number every element of x has if that is known, else None."""
    node = x.builder.nodes[x.id]
    if node.op.name == "const":
        return node.param("value")
    if node.op.name in ("broadcast", "reshape", "convert"):
        inner = const_value(Value(x.builder, node.args[0]))
        if inner is not None and node.op.name == "convert":
            return np.dtype(node.spec.dtype).type(inner).item()
        return inner
    return None


def lift(like: Value, x, operation="operation") -> Value:
    """x as a Value of the same builder: numbers become constants, arrays hidden inputs."""
    builder = like.builder
    if not builder.open:
        x = like
    if isinstance(x, Value):
        if x.builder is not builder or not builder.open:
            raise TraceError(
                operation,
                "a traced value was kept after its trace, or belongs to another one",
                expected="a value of the function being traced",
                got=f"{x!r} made at {x.builder.nodes[x.id].where}",
                fix="return it from the function instead of storing it outside",
            )
        return x if type(x) is type(like) else type(like)(builder, x.id)
    if type(x) in (bool, int, float):
        return const(like, x, Spec((), np.dtype(type(x)), weak=True))
    if isinstance(x, np.generic) and x.dtype != object:
        return const(like, x, Spec((), check_dtype(x.dtype, operation)))
    if isinstance(x, (list, tuple)) or (isinstance(x, np.ndarray) and x.dtype == object):
        return _lift_sequence(like, x, operation)
    if isinstance(x, np.ndarray) or hasattr(x, "__array__"):
        array = x if isinstance(x, np.ndarray) else np.asarray(x)
        check_dtype(array.dtype, operation)
        node = builder.capture(array, Spec(array.shape, array.dtype))
        return type(like)(builder, node)
    raise TraceError(
        operation,
        f"a {type(x).__name__} cannot take part",
        expected="arrays, numbers, or lists of them",
        got=f"{type(x).__name__}",
        fix="convert it to an array first",
    )


def _lift_sequence(like, x, operation):
    items = list(x.ravel()) if isinstance(x, np.ndarray) else list(x)
    if not any(isinstance(i, (Value, list, tuple, np.ndarray)) for i in items):
        if isinstance(x, np.ndarray):
            raise DTypeError(
                operation, "an object array without traced values", expected="numbers", got="object"
            )
        return lift(like, np.asarray(x), operation)
    from graphad.ops.array import stack

    if isinstance(x, np.ndarray):
        return reshape(stack([lift(like, i, operation) for i in items]), x.shape)
    return stack([lift(like, i, operation) for i in items])


def convert(x: Value, dtype) -> Value:
    """x in another dtype; weak no longer."""
    dtype = check_dtype(dtype, "astype")
    if x.dtype == dtype and not x.spec.weak:
        return x
    value = const_value(x)
    if value is not None and x.builder.nodes[x.id].op.name == "const":
        if dtype.kind != "f" and not np.isfinite(value):
            value = 0
        return const(x, value, Spec(x.shape, dtype))
    return add(x, "convert", [x], dtype=dtype)


def reshape(x: Value, shape) -> Value:
    """x with the same elements in C order and another shape (no -1 here)."""
    shape = tuple(shape)
    if shape == x.shape:
        return x
    if size_of(shape) != x.size:
        raise ShapeError(
            "reshape",
            "the number of elements changes",
            expected=f"{x.size} elements",
            got=f"shape {shape} for an array of shape {x.shape}",
            fix="use -1 for one of the sizes",
        )
    if x.builder.nodes[x.id].op.name == "const":
        return const(x, const_value(x), Spec(shape, x.dtype, x.spec.weak))
    return add(x, "reshape", [x], shape=shape)


def broadcast(x: Value, shape, axes) -> Value:
    """x put on the given axes of a larger shape, repeated along the others."""
    shape = tuple(shape)
    if shape == x.shape:
        return x
    if x.builder.nodes[x.id].op.name == "const":
        return const(x, const_value(x), Spec(shape, x.dtype, x.spec.weak))
    return add(x, "broadcast", [x], shape=shape, axes=tuple(axes))


def repeated(x: Value, size) -> Value:
    """An unbatched value along a new first axis."""
    return broadcast(x, (size, *x.shape), range(1, x.ndim + 1))


def all_batched(args: Sequence[Value], batched: Sequence[bool], size) -> list[Value]:
    """The arguments with a batch axis each."""
    return [a if b else repeated(a, size) for a, b in zip(args, batched, strict=True)]


def batch_by_repeating(name: str):
    """The batching rule of an operation that takes leading axes, if all its arguments have them."""

    def rule(args, batched, size, params):
        return add(args[0], name, all_batched(args, batched, size), **params)

    return rule


def broadcast_to(x: Value, shape, operation="broadcast_to") -> Value:
    """NumPy's broadcast_to: axes of size 1 are dropped, then the missing ones added."""
    shape = tuple(shape)
    if x.shape == shape:
        return x
    if broadcast_shapes(operation, x.shape, shape) != shape:
        raise ShapeError(
            operation,
            "the shape does not broadcast",
            expected=f"a shape that broadcasts to {shape}",
            got=f"{x.shape}",
            fix="reshape it first",
        )
    first = len(shape) - x.ndim
    kept = [a for a in range(x.ndim) if x.shape[a] == shape[first + a]]
    squeezed = reshape(x, [x.shape[a] for a in kept])
    return broadcast(squeezed, shape, [first + a for a in kept])


def _first_value(operands) -> Value:
    for x in operands:
        if isinstance(x, Value):
            return x
    for x in operands:
        for i in (
            x.ravel() if isinstance(x, np.ndarray) else x if isinstance(x, (list, tuple)) else ()
        ):
            if isinstance(i, Value):
                return i
    raise TraceError("operation", "no traced value among the operands", got=operands)


def arrays_of(operands, operation="operation") -> list[Value]:
    """The operands as Values, for functions that take numbers as arrays: of dtypes that count."""
    operands = list(operands)
    like = _first_value(operands)
    return [convert(v := lift(like, x, operation), v.dtype) for x in operands]


def holds_traced(x, depth: int = 32) -> bool:
    """Whether this is a traced value, or a list or an array of objects that holds one."""
    if isinstance(x, np.ndarray):
        return x.dtype == object and any(isinstance(i, Value) for i in x.flat)
    if isinstance(x, (list, tuple)):
        return depth > 0 and any(holds_traced(i, depth - 1) for i in x)
    return isinstance(x, Value)


def promoted(operation: str, operands, takes="same") -> list[Value]:
    """The operands as Values of one dtype."""
    like = _first_value(operands)
    values = [lift(like, x, operation) for x in operands]
    dtype = promote(*[v.spec for v in values])
    if takes == "float" and dtype.kind != "f":
        dtype = _float_of([v.spec for v in values], operation)
    if takes == "bool":
        return [v if v.dtype.kind == "b" else convert(v, "?") for v in values]
    if takes == "number" and dtype.kind == "b":
        dtype = np.dtype("i8")
    if all(v.spec.weak for v in values):
        return [v if v.dtype == dtype else _weak(convert(v, dtype)) for v in values]
    return [convert(v, dtype) for v in values]


def _float_of(specs, operation) -> np.dtype:
    """The float dtype that NumPy takes integers in; its float16, and division, are double here."""
    if operation == "div":
        return F8
    kinds = [0 if s.weak else s.dtype for s in specs]
    found = np.result_type(np.float16, *kinds)
    return F8 if found == np.float16 else found


def _weak(x: Value) -> Value:
    if const_value(x) is not None:
        return const(x, const_value(x), Spec(x.shape, x.dtype, True))
    return x


def operator(name: str, *operands) -> Any:
    """An elementwise operation with promotion and broadcasting; all-weak operands stay weak."""
    op = find(name)
    for x in operands:
        if isinstance(x, (str, dict, set, type(None), Composite)):
            return NotImplemented
    decided = _beyond_range(name, operands)
    if decided is not None:
        return decided
    values = promoted(name, operands, op.takes)
    if name in _OWN_OF_BOOLS and all(lift(values[0], x).dtype.kind == "b" for x in operands):
        return _on_booleans(name, operands)
    shape = broadcast_shapes(name, *[v.shape for v in values])
    return add(values[0], name, [broadcast_to(v, shape, name) for v in values])


_COMPARISONS = ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal")


def _beyond_range(name: str, operands) -> Value | None:
    """A comparison of integers with a Python integer that their dtype does not hold: as in NumPy
    it is decided by the dtype."""
    if name not in _COMPARISONS or len(operands) != 2:
        return None
    for k, (x, number) in enumerate((operands, operands[::-1])):
        if not isinstance(x, Value) or type(number) is not int:
            continue
        if x.dtype.kind not in "iu" or x.spec.weak:
            continue
        held = np.iinfo(x.dtype)
        if not held.min <= number <= held.max:
            sides = (np.sign(number), 0) if k else (0, np.sign(number))
            return full(x, bool(getattr(np, name)(*sides)), x.shape, "?")
    return None


_BOOLEAN = {"add": "logical_or", "mul": "logical_and", "abs": None}
_NOT_OF_BOOLS = ("sub", "neg")
_OWN_OF_BOOLS = {*_BOOLEAN, *_NOT_OF_BOOLS}


def _on_booleans(name: str, operands) -> Value:
    """NumPy's arithmetic of bools: + is or, * is and, abs is nothing."""
    if name in _NOT_OF_BOOLS:
        raise DTypeError(
            name, "bools have no difference", expected="numbers", got="bools",
            fix="x ^ y, or ~x",
        )  # fmt: skip
    instead = _BOOLEAN[name]
    like = _first_value(operands)
    return lift(like, operands[0]) if instead is None else operator(instead, *operands)


def apply(name: str, *operands) -> Value:
    """As `operator`, but as NumPy's functions do it: the result is never weak."""
    out = operator(name, *operands)
    return convert(out, out.dtype) if out.spec.weak else out


def select(condition, x, y) -> Value:
    """condition ? x : y, elementwise, with promotion and broadcasting."""
    like = _first_value([condition, x, y])
    mask = lift(like, condition, "where")
    mask = mask if mask.dtype.kind == "b" else convert(mask, "?")
    a, b = promoted("where", [lift(like, x, "where"), y])
    shape = broadcast_shapes("where", mask.shape, a.shape, b.shape)
    return add(like, "select", [broadcast_to(v, shape, "where") for v in (mask, a, b)])


def public(*functions, examples=()):
    """Declare how NumPy functions are traced, with example calls for tests and the reference.

    Each example is a string, a call in terms of `f` and of test arrays that tests/arrays.py
    names (`A34` is a float array of shape (3, 4), `K4` an integer one, `B34` a bool one).
    """

    def put(implementation):
        for f in functions:
            TABLE.numpy[f] = implementation
            if examples:
                module = getattr(f, "__module__", None) or "numpy"  # ufuncs have none before 2.1
                name = f"{module}.{f.__name__}".replace("numpy.", "")
                TABLE.examples[name] = [(f, e) for e in examples]
        return implementation

    return put
