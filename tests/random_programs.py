"""Random NumPy programs from hypothesis: what the passes and the kernels are tried on.

A program is a list of steps; each applies one function to earlier values. It runs on arrays and
on traced values alike.
"""

import numpy as np
import scipy.special
from hypothesis import strategies as st

import graphad as ga
from graphad.op import TABLE
from graphad.trace.tensor import Tensor

SHAPES = [(), (1,), (3,), (4,), (2, 3), (3, 4), (4, 3), (1, 4), (3, 1), (2, 3, 4), (2, 1, 3)]
UNARY = [np.tanh, np.sin, np.cos, np.arctan, np.abs, np.sign, np.negative, np.square,
         lambda x: np.exp(-x * x), lambda x: np.log1p(x * x), lambda x: np.sqrt(1.0 + x * x),
         lambda x: np.expm1(np.tanh(x)), lambda x: np.sinh(np.tanh(x)), np.floor,
         lambda x: np.arcsin(0.9 * np.tanh(x)), lambda x: np.clip(x, -0.5, 0.7),
         lambda x: np.where(x > 0, x, 0.1 * x), lambda x: (1.5 + np.tanh(x)) ** 1.5,
         lambda x: 2.0 * x + 1.0]  # fmt: skip
BINARY = [np.add, np.subtract, np.multiply, np.maximum, np.minimum, np.hypot, np.logaddexp,
          np.arctan2, lambda x, y: x / (1.0 + y * y), lambda x, y: np.where(x < y, x, y)]  # fmt: skip
REDUCE = [np.sum, np.mean, np.max, np.min, np.var, np.prod]


def squashed(x, interval):
    """x brought smoothly into an interval."""
    low, high = interval
    return 0.5 * (low + high) + 0.5 * (high - low) * np.tanh(x)


def from_table(arity):
    """Every elementwise operation of the table with this many arguments, inside its domain."""
    by_name = {op.name: op for op in TABLE.ops.values() if op.meaning is not None}
    made = []
    for function in TABLE.numpy:
        name = getattr(function, "__name__", "")
        op = by_name.get(name) or by_name.get(ALIASES.get(name, ""))
        if op is None or op.arity != arity or not isinstance(function, np.ufunc):
            continue
        domain = op.domain if len(op.domain) == arity else op.domain * arity
        made.append(
            lambda *xs, f=function, d=domain: f(
                *[squashed(x, i) for x, i in zip(xs, d, strict=True)]
            )
        )
    for name in ga.special.__all__:
        op = TABLE.ops.get(name)
        if op is not None and op.meaning is not None and op.arity == arity:
            domain = op.domain if len(op.domain) == arity else op.domain * arity
            made.append(
                lambda *xs, n=name, d=domain: _special(n)(
                    *[squashed(x, i) for x, i in zip(xs, d, strict=True)]
                )
            )
    return made


def _special(name):
    """SciPy's function, which traced values take as well; ours where it has none."""
    return getattr(scipy.special, name, None) or getattr(ga.special, name)


ALIASES = {
    "subtract": "sub",
    "negative": "neg",
    "multiply": "mul",
    "divide": "div",
    "absolute": "abs",
}
TABLE_UNARY, TABLE_BINARY = from_table(1), from_table(2)
UNARY += TABLE_UNARY
BINARY += TABLE_BINARY


def broadcastable(a, b):
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        return False
    return True


def axes_for(draw, x):
    if x.ndim == 0:
        return None
    choice = draw(st.integers(-1, x.ndim - 1))
    return None if choice < 0 else choice


def structural(draw, x):
    """A step that moves elements, as a function of one value."""
    kind = draw(st.integers(0, 11))
    if kind == 0:
        perm = draw(st.permutations(range(x.ndim)))
        return lambda v: np.transpose(v, perm)
    if kind == 1:
        return lambda v: np.reshape(v, -1)
    if kind == 2 and x.ndim:
        key = tuple(draw(slices(n)) for n in x.shape)
        if x[key].size:
            return lambda v: v[key]
    if kind == 3 and x.ndim:
        axis = draw(st.integers(0, x.ndim - 1))
        index = np.array(
            draw(st.lists(st.integers(-x.shape[axis], x.shape[axis] - 1), min_size=1, max_size=4))
        )
        return lambda v: np.take(v, index, axis=axis)
    if kind == 4 and x.ndim:
        axis = draw(st.integers(0, x.ndim - 1))
        return lambda v: np.cumsum(v, axis=axis) * 0.3
    if kind == 5:
        return lambda v: np.expand_dims(v, 0) if v.ndim < 3 else v
    if kind == 6 and x.ndim:
        return lambda v: np.flip(v)
    if kind == 7 and 0 < x.ndim < 3:
        return lambda v: np.pad(v, 1)
    if kind == 8 and x.ndim:
        shift = draw(st.integers(-2, 2))
        return lambda v: np.roll(v, shift, axis=-1)
    if kind == 9 and x.ndim == 2:
        return lambda v: np.diagonal(v, 0)
    if kind == 10 and x.ndim == 2:
        return lambda v: np.tril(v)
    if kind == 11 and x.ndim and x.ndim < 3:
        return lambda v: np.tile(v, 2)
    return lambda v: v * 0.5


def looped(f, init, xs):
    """A scan: a Python loop on arrays, `ga.scan` on traced values."""
    if isinstance(init, Tensor) or isinstance(xs, Tensor):
        return ga.scan(f, init, xs)
    ys = []
    for x in xs:
        init, y = f(init, x)
        ys.append(y)
    return init, np.stack(ys)


def control(draw, x):
    """A step with a loop or a branch in it."""
    kind = draw(st.integers(0, 4))
    if kind == 0 and x.ndim and x.size:
        last = draw(st.booleans())
        return lambda v: looped(lambda c, row: (np.tanh(0.7 * c + row), c * row), v[0] * 0.1, v)[
            0 if last else 1
        ]
    if kind == 1:
        cut = draw(st.sampled_from([-0.2, 0.1]))
        return lambda v: ga.cond(
            np.sum(v) > cut, lambda v: np.sin(v) * 0.5, lambda v: 0.3 * v * v, v
        )
    if kind == 2:
        n = draw(st.integers(0, 3))
        return lambda v: (
            ga.fori_loop(0, n, lambda i, c: 0.9 * np.sin(c) + 0.1 * i, v)
            if (isinstance(v, Tensor))
            else iterated(v, n)
        )
    if kind == 3 and x.ndim and x.size:
        return lambda v: looped(
            lambda c, row: (c + np.sum(row), row * c), np.asarray(0.2) * np.sum(v[0]), v
        )[1]
    return lambda v: while_small(v)


def routine(draw, x):
    """A step by a kernel of its own: order, running products, solves."""
    kind = draw(st.integers(0, 4))
    if kind == 0 and x.ndim:
        axis = draw(st.integers(0, x.ndim - 1))
        return lambda v: np.sort(v, axis=axis)
    if kind == 1 and x.ndim:
        return lambda v: np.cumprod(np.tanh(v), axis=-1)
    if kind == 2 and x.ndim == 2:
        # a + a' + 4n: far from singular, whatever the values.
        return lambda v: np.linalg.solve(dominant(v), v) * 0.5
    if kind == 3 and x.ndim == 2:
        return lambda v: np.linalg.cholesky(dominant(v)) * 0.5
    if kind == 4 and x.ndim == 1 and x.size:
        return lambda v: np.convolve(np.tanh(v), v[:3], mode="same") * 0.5
    return lambda v: np.median(v) * v if x.size else v


def dominant(v):
    """A symmetric positive definite matrix of the rows of v."""
    n = v.shape[0]
    t = np.tanh(v @ np.ones((v.shape[1], n)))
    return 0.3 * (t + t.T) + (n + 1.0) * np.eye(n)


def iterated(v, n):
    for i in range(n):
        v = 0.9 * np.sin(v) + 0.1 * i
    return v


def while_small(v):
    """Halve until small: the number of steps depends on the values."""
    if isinstance(v, Tensor):
        return ga.while_loop(
            lambda c: np.sum(c * c) > 0.5, lambda c: np.tanh(c) * 0.6, v, max_steps=12
        )
    for _ in range(12):
        if not np.sum(v * v) > 0.5:
            break
        v = np.tanh(v) * 0.6
    return v


def slices(n):
    bound = st.one_of(st.none(), st.integers(-n, n))
    return st.builds(slice, bound, bound, st.sampled_from([None, 1, 2, -1, -2]))


@st.composite
def programs(draw, most_steps=7, scale=1):
    """(function of arrays, arrays): 1 to 3 inputs, a few steps, 1 or 2 results."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    shapes = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3))
    arrays = [
        np.round(rng.uniform(-1.5, 1.5, [scale * d if d > 1 else d for d in s]), 3) for s in shapes
    ]
    values, steps = list(arrays), []
    for _ in range(draw(st.integers(1, most_steps))):
        with np.errstate(all="ignore"):
            step = draw_step(draw, values)
            out = step(values)
        if np.size(out) > 400 * scale**2 or np.ndim(out) > 4:
            continue
        steps.append(step)
        values.append(np.asarray(out))
    chosen = draw(st.lists(st.integers(0, len(values) - 1), min_size=1, max_size=2))
    picked = [len(values) - 1, *chosen[1:]]

    def run(*inputs):
        vs = list(inputs)
        for step in steps:
            vs.append(step(vs))
        return tuple(vs[p] for p in picked)

    return run, arrays


def draw_step(draw, values):
    i = draw(st.integers(0, len(values) - 1))
    x = values[i]
    kind = draw(st.integers(0, 10))
    if kind <= 2:
        f = draw(st.sampled_from(UNARY))
        return lambda vs: f(vs[i])
    if kind <= 4:
        fits = [k for k, v in enumerate(values) if broadcastable(x, v)]
        j, f = draw(st.sampled_from(fits)), draw(st.sampled_from(BINARY))
        return lambda vs: f(vs[i], vs[j])
    if kind == 5 and x.size:
        f, axis, keep = draw(st.sampled_from(REDUCE)), axes_for(draw, x), draw(st.booleans())
        return lambda vs: f(vs[i], axis=axis, keepdims=keep)
    if kind == 6:
        fits = [k for k, v in enumerate(values)
                if v.ndim and x.ndim and x.shape[-1] == v.shape[-2 if v.ndim > 1 else 0]
                and (x.ndim <= 2 and v.ndim <= 2)]  # fmt: skip
        if fits:
            j = draw(st.sampled_from(fits))
            return lambda vs: np.matmul(vs[i], vs[j]) * 0.3
    if kind == 7:
        fits = [k for k, v in enumerate(values) if v.shape == x.shape]
        j = draw(st.sampled_from(fits))
        axis = draw(st.integers(0, x.ndim))
        if x.ndim and axis < x.ndim:
            return lambda vs: np.concatenate([vs[i], vs[j]], axis=axis)
        return lambda vs: np.stack([vs[i], vs[j]], axis=axis)
    kinds = {8: control, 9: routine}
    move = kinds.get(kind, structural)(draw, x)
    return lambda vs: move(vs[i])
