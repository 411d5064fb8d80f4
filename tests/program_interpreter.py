"""A slow interpreter of planned Programs in one byte arena: the oracle of fusion and planning.

It shares no code with the emitters: every point of every loop is a Python step on NumPy scalars.
"""

import numpy as np

from graphad.lower.program import Choice, Fill, Loop, Nest, Product, Repeat, Routine, Strips
from graphad.lower.strips import sums_rows
from graphad.op import find

IDENTITY = {"sum": 0, "prod": 1, "max": -np.inf, "min": np.inf}


def place(at, point):
    return at.offset + sum(s * i for s, i in zip(at.strides, point, strict=True))


def run_program(program, inputs):
    """The results of a program with static dims."""
    arena = np.full(program.arena_bytes + 64, 0xFF, np.uint8)
    memory = {}
    results = {}
    for b in program.buffers:
        size = int(np.prod(b.spec.shape, dtype=int))
        if b.kind == "input":
            memory[b.id] = np.array(inputs[b.index], b.spec.dtype).ravel()
        elif b.kind == "captured":
            memory[b.id] = np.array(program.captured[b.index], b.spec.dtype).ravel()
        elif b.kind == "output":
            memory[b.id] = np.full(size, 99, b.spec.dtype)
            results[b.index] = (memory[b.id], b.spec.shape)
        elif b.kind == "row":
            memory[b.id] = np.full(size, 99, b.spec.dtype)
        elif b.id in program.offsets:
            start = program.offsets[b.id]
            end = start + size * b.spec.dtype.itemsize
            assert end <= program.arena_bytes
            memory[b.id] = arena[start:end].view(b.spec.dtype)
    for region in program.regions:
        if isinstance(region, Loop):
            run_loop(region, memory)
        elif isinstance(region, Nest) and region.in_steps:
            run_steps(region, memory)
        elif isinstance(region, Nest):
            run_nest(region, memory)
        elif isinstance(region, Product):
            run_product(region, memory)
        elif isinstance(region, Strips):
            run_strips(region, memory)
        elif isinstance(region, Repeat):
            run_repeat(region, memory, program.buffers)
        elif isinstance(region, Routine):
            run_routine(region, memory)
        elif isinstance(region, Choice):
            shaped = [memory[b].reshape(program.buffers[b].spec.shape) for b in region.operands]
            k = min(max(int(memory[region.index][0]), 0), len(region.branches) - 1)
            for b, out in zip(region.results, run_program(region.branches[k], shaped), strict=True):
                memory[b][:] = out.ravel()
        else:
            assert isinstance(region, Fill), region
            memory[region.buffer][:] = 0
    return [results[k][0].reshape(results[k][1]) for k in sorted(results)]


def run_routine(region, memory):
    """By the table's reference; what a routine works in is left dirty."""
    args = [memory[b].reshape(s.shape) for b, s in zip(region.operands, region.inputs, strict=True)]
    outs = find(region.name).reference(args, dict(region.params), region.outputs[0])
    outs = outs if len(region.results) > 1 else [outs]
    for b, out in zip(region.results, outs, strict=True):
        memory[b][:] = np.ravel(out)
    for b in region.scratch:
        memory[b].view(np.uint8)[:] = 0x55


def run_repeat(region, memory, buffers):
    def array(b):
        return memory[b].reshape(buffers[b].spec.shape)

    carries = [array(b).copy() for b in region.starts]
    constants = [array(b) for b in region.constants]
    n = region.length
    if region.count >= 0:
        n = min(n, int(memory[region.count][0]))
    taken = 0
    while taken < n:
        k = n - 1 - taken if region.reverse else taken
        state = [np.asarray(k), *carries, *constants]
        if region.condition is not None and not run_program(region.condition, state)[0]:
            break
        rows = [memory[b][k * n : (k + 1) * n] for b, n in zip(region.xs, region.rows, strict=True)]
        outs = run_program(region.body, [*state, *rows])
        carries = outs[: len(carries)]
        for b, row in zip(region.ys, outs[len(carries) :], strict=True):
            array(b)[k] = row
        taken += 1
    for b, value in zip(region.lasts, carries, strict=True):
        memory[b][:] = np.ravel(value)
    if region.taken >= 0:
        memory[region.taken][:] = taken


def run_product(region, memory):
    def matrices(buffer, shape, turned, lead, step):
        item = memory[buffer].itemsize
        strides = (1, lead) if turned else (lead, 1)
        return np.lib.stride_tricks.as_strided(
            memory[buffer], (region.batch, *shape), (step * item, *(s * item for s in strides))
        )

    m, n, k = region.m, region.n, region.k
    a = matrices(region.a, (m, k), region.a_turned, region.leads[0], region.steps[0])
    b = matrices(region.b, (k, n), region.b_turned, region.leads[1], region.steps[1])
    matrices(region.c, (m, n), False, region.leads[2], region.steps[2])[...] = a @ b


def wrapped(indices, values, bounds):
    total = 0
    for i, (size, step) in zip(indices, bounds, strict=True):
        at = int(values[i])
        at = at + size if at < 0 else at
        assert 0 <= at < size
        total += at * step
    return total


def evaluate_body(region, memory, point):
    values = {}
    for s in region.body:
        if s.op == "load":
            out = memory[s.buffer][place(s.at, point)]
        elif s.op == "gather":
            out = memory[s.buffer][place(s.at, point) + wrapped(s.args, values, s.bounds)]
        elif s.op in ("const", "dim"):
            out = s.value
        elif s.op == "index":
            out = place(s.at, point)
        else:
            with np.errstate(all="ignore"):
                options = {"dtype": s.dtype}
                args = [np.asarray(values[a]) for a in s.args]
                out = find(s.op).reference(args, options, _Scalar(s.dtype))
        values[s.id] = np.asarray(out, s.dtype)[()]
    return values


class _Scalar:
    shape = ()

    def __init__(self, dtype):
        self.dtype = dtype


def run_strips(region, memory):
    for first in range(0, region.rows, region.strip):
        rows = range(first, min(first + region.strip, region.rows))
        for b in region.row_of:  # nothing is left of the strip before
            memory[b][:] = 77
        for inner in region.program.regions:
            if isinstance(inner, Product):
                run_product_rows(inner, memory, rows, sums_rows(inner, region.rows))
            elif isinstance(inner, Nest):
                run_nest(inner, memory, rows)
            else:
                run_loop(inner, memory, rows)


def run_product_rows(region, memory, rows, summed):
    """Some rows of a product, or what some terms add to it."""
    part = slice(rows.start, rows.stop)
    a = [memory[region.a], region.leads[0], region.m, region.k]
    left = np.stack([a[0][i * a[1] : i * a[1] + (a[2] if summed else a[3])] for i in rows])
    if not summed:
        n = region.n
        whole = np.lib.stride_tricks.as_strided(
            memory[region.b], (region.k, n),
            tuple(s * memory[region.b].itemsize for s in
                  ((1, region.leads[1]) if region.b_turned else (region.leads[1], 1))))  # fmt: skip
        for i, row in zip(rows, left @ whole, strict=True):
            memory[region.c][i * region.leads[2] : i * region.leads[2] + n] = row
        return
    lead = region.leads[1]
    right = np.stack([memory[region.b][i * lead : i * lead + region.n] for i in rows])
    out = memory[region.c][: region.m * region.n].reshape(region.m, region.n)
    out[:] = left.T @ right + (out if part.start else 0)


def run_steps(region, memory):
    for t in range(region.loops[0].space[0]):
        for loop in region.loops:
            run_loop(loop, memory, range(t, t + 1))


def run_nest(region, memory, rows=None):
    for loop in region.loops:
        initialise(loop, memory, rows)
    running = [{} for _ in region.loops]
    for row in rows or range(region.loops[0].space[0]):
        for b, size in region.rows.items():  # nothing is left of the row before
            memory[b][: row * size] = 77
        for loop, kept in zip(region.loops, running, strict=True):
            for rest in np.ndindex(*loop.space[1:]):
                step(loop, memory, (row, *rest), kept)


def run_loop(region, memory, rows=None):
    initialise(region, memory, rows)
    running = {}
    for point in points(region, rows):
        step(region, memory, point, running)


def points(region, rows):
    for point in np.ndindex(*region.space):
        if rows is None or point[0] in rows:
            yield point


def step(region, memory, point, running):
    values = evaluate_body(region, memory, point)
    for k, s in enumerate(region.stores):
        store(region, k, s, values, memory, point, running)


def initialise(region, memory, rows=None):
    for s in region.stores:
        if s.reduce in IDENTITY and not (0 in s.axes and rows and rows.start):
            start = IDENTITY[s.reduce]
            dtype = memory[s.buffer].dtype
            if dtype.kind in "iu" and not np.isfinite(start):
                start = np.iinfo(dtype).min if s.reduce == "max" else np.iinfo(dtype).max
            if dtype.kind == "b" and s.reduce in ("max", "min"):
                start = s.reduce == "min"
            for point in points(region, rows):
                memory[s.buffer][place(s.at, point)] = start
            if 0 in region.space:
                memory[s.buffer][:] = start


def store(region, k, s, values, memory, point, running):
    target, at, v = memory[s.buffer], place(s.at, point), values[s.value]
    with np.errstate(all="ignore"):
        if s.reduce is None:
            target[at] = v
        elif s.reduce == "sum":
            target[at] += v
        elif s.reduce == "prod":
            target[at] *= v
        elif s.reduce == "max":
            target[at] = np.maximum(target[at], v)
        elif s.reduce == "min":
            target[at] = np.minimum(target[at], v)
        elif s.reduce == "scan":
            key = (k, *[p for a, p in enumerate(point) if a not in s.axes])
            running[key] = running.get(key, 0) + v
            target[at] = running[key]
        elif s.reduce in ("argmax", "argmin"):
            key = (k, at)
            best = running.get(key)
            better = best is None or (v > best if s.reduce == "argmax" else v < best)
            if better or (np.isnan(v) and not np.isnan(best)):
                running[key] = v
                target[at] = point[s.axes[0]]
        elif s.reduce == "scatter_add":
            target[at + wrapped(s.indices, values, s.bounds)] += v
        else:
            assert s.reduce == "scatter_set", s.reduce
            target[at + wrapped(s.indices, values, s.bounds)] = v
