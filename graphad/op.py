"""The few families of operation, as data.

An operation says everything about itself in one `Op`: what it means (`reference`), its shape
rule (`infer`), its derivative, how it batches and how it is lowered. The families fix which of
these are needed:

- elementwise: `meaning` (a sympy expression) and a `body`; the Jacobian is diagonal.
- linear: linear in all (or the listed) arguments; `transpose` is its whole derivative.
- bilinear: linear in each of two arguments; likewise `transpose`.
- linearised: `jvp` builds the tangent from other operations.
- opaque: no derivative, stated (`nondiff` says why when it matters).
- source: no arguments (`const`, `iota`, `input`).
- control: holds Graphs. Its rules are given by the floors that they need (`complete`): `push` and
  `pull` by diff, `batch` by vmap, `trim` by rewrite, `evaluate` by the interpreter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

FAMILIES = (
    "elementwise",
    "linear",
    "bilinear",
    "linearised",
    "opaque",
    "source",
    "control",
)


@dataclass(frozen=True, eq=False)
class Op:
    """One primitive operation; see the module's text for what each family needs.

    infer(specs, params) -> Spec;  reference(arrays, params, spec) -> array
    partials(*args, out) -> tuple of Values or numbers (None: the partial is zero)
    jvp(tangents, args, out, params) -> tangent Value (a tangent that is None is zero)
    transpose(ct, i, args, specs, params) -> cotangent of argument i
    batch(args, batched, size, params) -> Value with the batch axis first, or a list of them
    push(builder, node, tangents) -> tangents of several results
    pull(builder, node, cotangents, wanted) -> cotangents of the wanted arguments
    depends(node, index, k) -> pattern of one result in the k-th argument, see diff/sparsity.py
    evaluate(node, arrays, run) -> the arrays of several results; run: a reference.Run
    work(node) -> operations of what it holds
    trim(builder, node, args, used, simplify) -> {index: new id} of the results that are used
    body: a Python expression of {0}, {1}, ... and {zero}, {one}, {log2} in the operands' dtype,
        or one for each dtype kind; {cast} is the result's dtype,
        {code} the operands'
    takes: 'float' (integers are promoted to float64), 'same', or 'bool'
    scratch(specs, params) -> Specs of the memory that a routine works in
    domain: for tests, an interval for each argument
    units: the largest errors of a body of our own, f64 and f32, in units in the last place
    """

    name: str
    family: str
    infer: Callable[..., Any]
    reference: Callable[..., Any]
    arity: int | None = None
    meaning: Callable[..., Any] | None = None
    partials: Callable[..., Any] | None = None
    jvp: Callable[..., Any] | None = None
    transpose: Callable[..., Any] | None = None
    batch: Callable[..., Any] | None = None
    linear_args: tuple[int, ...] | None = None
    body: str | dict[str, str] | None = None
    lowering: str = "loop"
    takes: str = "same"
    cost: int = 1
    scratch: Callable[..., Any] | None = None
    push: Callable[..., Any] | None = None
    pull: Callable[..., Any] | None = None
    depends: Callable[..., Any] | None = None
    evaluate: Callable[..., Any] | None = None
    work: Callable[..., Any] | None = None
    trim: Callable[..., Any] | None = None
    domain: tuple = ((-3.0, 3.0),)
    units: tuple[float, float] = (2.0, 2.0)

    def __post_init__(self):
        assert self.family in FAMILIES, self.family

    def __repr__(self):
        return f"<op {self.name}>"

    def __reduce__(self):
        return (find, (self.name,))


@dataclass
class Table:
    """Every primitive by name, and the NumPy and SciPy callables that are traced."""

    ops: dict[str, Op] = field(default_factory=dict)
    numpy: dict[Any, Callable] = field(default_factory=dict)
    scipy: dict[str, Callable] = field(default_factory=dict)  # of scipy.special, by name
    examples: dict[str, list] = field(default_factory=dict)


TABLE = Table()


def register(op: Op) -> Op:
    """Put an operation in the table; a second of the same name is a defect."""
    assert op.name not in TABLE.ops, op.name
    TABLE.ops[op.name] = op
    return op


def complete(name: str, **rules: Callable) -> None:
    """Give an operation rules that need more than the table, by those who have it."""
    op = TABLE.ops[name]
    for rule, f in rules.items():
        assert getattr(op, rule) is None, (name, rule)
        object.__setattr__(op, rule, f)


def find(name: str) -> Op:
    """The operation called `name`."""
    return TABLE.ops[name]
