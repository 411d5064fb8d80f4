"""Models with loops, solvers, factorisations and special functions (tests/programs).

The oracle is the same text in the plain world: Python's loops, NumPy and SciPy, with Richardson's
extrapolation of central differences.
"""

import importlib

import numpy as np
import pytest
from test_programs import FOLDER, dot, moved, random_like, richardson

import graphad as ga

MODELS = [
    pytest.param(*model, id=model[0])
    for file in sorted(FOLDER.glob("*.py"))
    for model in getattr(importlib.import_module(file.stem), "MODELS", ())
]
worlds = importlib.import_module("worlds")


@pytest.mark.parametrize("name, model, args", MODELS)
def test_model(name, model, args):
    def f(*args):
        return model(worlds.GRAPHAD, *args)

    def plain(*args):
        return np.asarray(model(worlds.PLAIN, *args))

    want = plain(*args)
    scale = 1.0 + np.abs(want).max()
    np.testing.assert_allclose(ga.function(f)(*args), want, rtol=1e-9, atol=1e-9 * scale)
    wrt = tuple(range(len(args)))
    rng = np.random.default_rng(3)
    along = tuple(random_like(a, rng) for a in args)
    slope = richardson(lambda s: plain(*moved(args, wrt, along, s)))
    bound = 1.0 + np.abs(slope).max()
    push = ga.jvp(f, wrt=wrt)(*args, tangents=along)[1]
    np.testing.assert_allclose(push, slope, rtol=0, atol=1e-7 * bound)
    weights = rng.normal(size=want.shape)[()]
    pull = ga.vjp(f, wrt=wrt)(*args, cotangents=weights)[1]
    np.testing.assert_allclose(dot(pull, along), dot(weights, push), atol=1e-9 * bound)


def test_there_are_thirty_models():
    assert len(MODELS) >= 30
