"""Programs as users write them: values, gradients, Jacobians and Hessians against differences.

The oracle is NumPy with Richardson's extrapolation of central differences, which shares no code
with graphad; the regimes check each other.
"""

import importlib
import pathlib
import sys

import numpy as np
import pytest

import graphad as ga
from graphad.trace import pytree

FOLDER = pathlib.Path(__file__).parent / "programs"
sys.path.insert(0, str(FOLDER))
PROGRAMS = [
    pytest.param(*program, id=program[0])
    for file in sorted(FOLDER.glob("*.py"))
    for program in getattr(importlib.import_module(file.stem), "PROGRAMS", ())
]


def richardson(f, h=1e-3):
    """df/dt at 0 from central differences at h, h/2, h/4: error of order h^6."""
    d = [(np.asarray(f(s)) - np.asarray(f(-s))) / (2 * s) for s in (h, h / 2, h / 4)]
    e = [(4 * d[1] - d[0]) / 3, (4 * d[2] - d[1]) / 3]
    return (16 * e[1] - e[0]) / 15


def chosen(args, wrt, f):
    import inspect

    names = list(inspect.signature(f).parameters)
    return [
        names.index(w) if isinstance(w, str) else w
        for w in (wrt if isinstance(wrt, tuple) else (wrt,))
    ]


def moved(args, positions, directions, s):
    out = list(args)
    for p, d in zip(positions, directions, strict=True):
        out[p] = pytree.map_leaves(lambda x, t: x + s * t, args[p], d)
    return out


def random_like(tree, rng):
    return pytree.map_leaves(lambda x: rng.normal(size=np.shape(x))[()], tree)


def dot(a, b):
    return sum(
        np.sum(x * y) for x, y in zip(pytree.flatten(a)[0], pytree.flatten(b)[0], strict=True)
    )


@pytest.mark.parametrize("name, f, args, wrt, second", PROGRAMS)
def test_program(name, f, args, wrt, second, regime):
    want = np.asarray(f(*args))
    np.testing.assert_allclose(ga.function(f)(*args), want, rtol=1e-12, atol=1e-12)
    rng = np.random.default_rng(0)
    positions = chosen(args, wrt, f)
    directions = tuple(random_like(args[p], rng) for p in positions)
    along = directions if isinstance(wrt, tuple) else directions[0]
    slope = richardson(lambda s: f(*moved(args, positions, directions, s)))
    scale = 1.0 + np.abs(slope).max()
    _, push = ga.jvp(f, wrt=wrt)(*args, tangents=along)
    np.testing.assert_allclose(push, slope, rtol=0, atol=2e-9 * scale)
    if want.ndim == 0:
        value, gradient = ga.value_and_grad(f, wrt=wrt)(*args)
        np.testing.assert_allclose(value, want, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(dot(gradient, along), push, rtol=1e-10, atol=1e-10 * scale)
    else:
        rows = ga.jacobian(f, wrt=wrt)(*args)
        rows = rows if isinstance(wrt, tuple) else (rows,)
        got = sum(np.tensordot(j, d, np.ndim(d)) for j, d in zip(rows, directions, strict=True))
        np.testing.assert_allclose(got, push, rtol=1e-10, atol=1e-10 * scale)
        other = ga.jacobian(f, wrt=wrt, mode="reverse")(*args)
        other = other if isinstance(wrt, tuple) else (other,)
        for a, b in zip(rows, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name, f, args, wrt, second", [p for p in PROGRAMS if p.values[4]])
def test_second_order(name, f, args, wrt, second, regime):
    """The Hessian against differences of the gradient, its symmetry, and hvp."""
    rng = np.random.default_rng(1)
    positions = chosen(args, wrt, f)
    directions = tuple(random_like(args[p], rng) for p in positions)
    along = directions if isinstance(wrt, tuple) else directions[0]
    gradient = ga.grad(f, wrt=wrt)

    def flat(tree):
        return np.concatenate([np.ravel(x) for x in pytree.flatten(tree)[0]])

    want = richardson(lambda s: flat(gradient(*moved(args, positions, directions, s))))
    got = flat(ga.hvp(f, wrt=wrt)(*args, tangents=along))
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-8 * (1 + np.abs(want).max()))
    blocks = ga.hessian(f, wrt=wrt)(*args)
    blocks = blocks if isinstance(wrt, tuple) else ((blocks,),)
    sizes = [np.size(d) for d in directions]
    whole = np.block([[np.reshape(b, (n, m)) for b, m in zip(row, sizes, strict=True)]
                      for row, n in zip(blocks, sizes, strict=True)])  # fmt: skip
    np.testing.assert_allclose(whole, whole.T, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(whole @ flat(along), got, rtol=1e-9, atol=1e-9)


def test_there_are_twenty_programs():
    assert len(PROGRAMS) >= 20
