"""Graph to Graph, before fusion: products that BLAS is not for become multiply and sum.

Products with a vector, and small ones, run as fused loops; the rest is brought to the form that
BLAS takes without copying: batch labels first, then rows and columns each in one run.
"""

from __future__ import annotations

from itertools import permutations

from graphad.graph import Builder, Graph, Node, replaced
from graphad.ops.array import total, transpose
from graphad.ops.contract import dims_of
from graphad.ops.factor import is_small
from graphad.ops.value import Value, add, broadcast
from graphad.spec import size_of

SMALL_PRODUCT = 128  # multiplications: a call of BLAS takes a tenth of a microsecond
SMALL_OF_BATCH = 512
FEW_SUMMED, MOST_ELEMENTS = 4, 4096  # sums so short go in loops, of results that are not large
SHORT_SUM = 16


def expand(graph: Graph) -> Graph:
    """The graph with every `contract` either a sum of products or ready for BLAS."""

    def make(builder: Builder, node: Node, new) -> int | None:
        if node.op.name == "contract":
            x, y = (Value(builder, new[a]) for a in node.args)
            return _contract(graph, node, x, y).id
        if node.op.name == "solve":
            a, b = node.args[0], node.args[3]
            if is_small(graph.nodes[a].spec, graph.nodes[b].spec):
                x, y = Value(builder, new[a]), Value(builder, new[b])
                return add(x, "small_solve", [x, y], turned=node.param("turned")).id
        return None

    return replaced(graph, make)


def groups(params) -> tuple[str, str, str, str]:
    """Labels by role: batch, rows (left and out), columns (right and out), summed."""
    left, right, out = params["left"], params["right"], params["out"]
    batch = "".join(c for c in out if c in left and c in right)
    rows = "".join(c for c in out if c in left and c not in right)
    columns = "".join(c for c in out if c in right and c not in left)
    summed = "".join(c for c in left if c not in out)
    return batch, rows, columns, summed


def _contract(graph: Graph, node: Node, x: Value, y: Value) -> Value:
    params = node.options
    dims = dims_of([x.spec, y.spec], params)
    batch, rows, columns, summed = groups(params)

    def size(labels):
        return size_of([dims[c] for c in labels])

    work = [size(rows), size(columns), size(summed)]
    small = all(isinstance(w, int) for w in work) and (
        work[0] * work[1] * work[2] <= (SMALL_PRODUCT if batch == "" else SMALL_OF_BATCH)
        or min(work[:2]) == 1
        or work[2] <= (FEW_SUMMED if batch == "" and work[0] * work[1] <= MOST_ELEMENTS else 2)
    )
    if not rows or not columns or not summed or small or x.dtype.kind != "f":
        return _loops(x, y, params, dims)
    natural = batch + rows + columns
    wanted = params["out"] if is_strided(params["out"], batch, rows, columns) else natural
    if wanted.endswith(rows):  # the transposed product: swap the operands
        params = {"left": params["right"], "right": params["left"], "out": params["out"]}
        x, y, rows, columns = y, x, columns, rows
    left, x = _ordered(x, params["left"], batch, rows, summed)
    right, y = _ordered(y, params["right"], batch, columns, summed)
    out = add(x, "contract", [x, y], left=left, right=right, out=wanted)
    return transpose(out, [wanted.index(c) for c in params["out"]])


def is_strided(labels: str, batch: str, one: str, other: str) -> bool:
    """Whether an array is a matrix in BLAS's sense for each of the batch: each group of labels in
    one run, and the batch not innermost. Rows may be far apart."""
    orders = permutations([g for g in (batch, one, other) if g])
    return any("".join(o) == labels and o[-1] != batch for o in orders)


def _ordered(x: Value, labels: str, batch: str, free: str, summed: str):
    """The operand as BLAS takes it; where it must be copied, what is innermost stays innermost."""
    if is_strided(labels, batch, free, summed):
        return labels, x
    want = batch + (summed + free if labels[-1] in free else free + summed)
    return want, transpose(x, [labels.index(c) for c in want])


def _larger(x: Value, y: Value) -> bool:
    """Whether the first has at least as many elements, or axes where that is not known."""
    if isinstance(x.spec.size, int) and isinstance(y.spec.size, int):
        return x.spec.size >= y.spec.size
    return x.spec.ndim >= y.spec.ndim


def _loops(x: Value, y: Value, params, dims) -> Value:
    """multiply and sum; the labels of the larger operand keep their order, inner ones inside."""
    left, right, out = params["left"], params["right"], params["out"]
    main, other = (left, right) if _larger(x, y) else (right, left)
    order = "".join(c for c in other if c not in main) + main
    few = size_of([dims[c] for c in order if c not in out])
    if out and isinstance(few, int) and few <= SHORT_SUM:  # inside, where it will be unrolled
        order = "".join(c for c in out) + "".join(c for c in order if c not in out)
    shape = [dims[c] for c in order]

    def spread(v, labels):
        ranked = sorted(range(len(labels)), key=lambda i: order.index(labels[i]))
        return broadcast(transpose(v, ranked), shape, [order.index(labels[i]) for i in ranked])

    product = spread(x, left) * spread(y, right)
    summed = total(product, [i for i, c in enumerate(order) if c not in out])
    kept = "".join(c for c in order if c in out)
    return transpose(summed, [kept.index(c) for c in out])
