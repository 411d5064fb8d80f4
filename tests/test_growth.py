"""The compiler's work grows as the graph does, whatever Python writes out: nothing asks the same
again along every path, goes through all nodes for each node, or recurses along the graph."""

import inspect
import sys

import numpy as np
import pytest

import graphad as ga
from graphad import pipeline
from graphad.compile.build import build
from graphad.emit.emission import kernels_of
from graphad.emit.target import host
from graphad.lower.straight import Straight
from graphad.run.image import all_kernels, make_image
from tests.written_out import WRITTEN_OUT

STEPS = 12
SQUARED = ("gram_schmidt",)  # whose graphs grow with the square of the steps
VECTORS = ("stencil_in_place", "stencil_joined", "stencil_padded", "stencil_shrinking",
           "stencil_rolled", "layers", "looked_up")  # fmt: skip
MOST = 1.8  # times as much work for each node as in a graph a quarter of the size
SLACK = 1000  # calls that cost nothing
DEEP = 120  # steps, more than DEPTH
DEPTH = 90  # calls within calls


def counted(work):
    """What some work gives, and how many calls it makes."""
    calls = 0

    def note(frame, event, arg):
        nonlocal calls
        calls += event == "call" or event == "c_call"

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        found = work()
    finally:
        sys.setprofile(before)
    return found, calls


def work_of(name, n, passes):
    """The calls that each stage makes, and the nodes that there are."""
    f, args = WRITTEN_OUT[name](n)
    both = ga.value_and_grad(f, wrt=tuple(range(len(args))))
    calls = {}
    lowered, calls["trace"] = counted(lambda: both.lower(*args))
    stage = lowered.traced
    nodes = len(stage.nodes)
    for step in (*pipeline.GRAPH_PASSES, *passes):
        stage, calls[step.name] = counted(lambda: step.check(step.run(stage)))
    kernels, calls["emit"] = counted(lambda: kernels_of(stage, host()))
    build([k.source for k in all_kernels(kernels)])
    _, calls["image"] = counted(lambda: make_image(stage, kernels))
    return calls, nodes


@pytest.mark.parametrize(
    ("name", "regime"),
    [(n, "loops") for n in (*VECTORS, "kalman", "neighbours", "elements")]
    + [(n, "pieces") for n in WRITTEN_OUT if n not in VECTORS],
)
def test_work_is_linear_in_the_size_of_the_graph(name, regime, monkeypatch):
    monkeypatch.setattr("graphad.lower.memory.MANY", 20)  # few are packed better, in more time
    passes = pipeline.LONG_PASSES if regime == "pieces" else pipeline.LARGE_PASSES
    n = STEPS // 2 if name in SQUARED else STEPS
    work_of(name, 3, passes)  # what is made once for all
    few, nodes = work_of(name, n, passes)
    many, more = work_of(name, 2 * n if name in SQUARED else 4 * n, passes)
    growth = {k: round(many[k] / (few[k] + SLACK) * nodes / more, 2) for k in few}
    assert max(growth.values()) < MOST, growth


@pytest.mark.parametrize(
    "name", ["stencil_joined", "looked_up", "layers", "runge_kutta", "elements"]
)
def test_no_pass_recurses_along_the_graph(name):
    f, args = WRITTEN_OUT[name](DEEP)
    both = ga.value_and_grad(f, wrt=tuple(range(len(args))))
    work_of(name, 3, pipeline.LARGE_PASSES)  # what is imported and made at the first need
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + DEPTH)
    try:
        lowered = both.lower(*args)
        kernels_of(lowered.program, host())
    finally:
        sys.setrecursionlimit(before)
    assert lowered.memory.peak > 0


@pytest.mark.parametrize("name", [n for n in WRITTEN_OUT if n not in VECTORS])
def test_pieces_give_what_loops_give(name, monkeypatch):
    f, args = WRITTEN_OUT[name](10 if name in SQUARED else 30)
    which = tuple(range(len(args)))
    both = ga.value_and_grad(f, wrt=which)
    monkeypatch.setattr(pipeline, "takes_long", lambda graph: True)
    assert all(isinstance(r, Straight) for r in both.lower(*args).program.regions)
    value, slopes = both(*args)
    monkeypatch.setattr(pipeline, "takes_long", lambda graph: False)
    other, others = ga.value_and_grad(f, wrt=which)(*args)
    np.testing.assert_allclose(value, f(*args), rtol=1e-12)
    np.testing.assert_array_equal(value, other)
    for x, y in zip(slopes, others, strict=True):
        np.testing.assert_array_equal(x, y)


def test_pieces_that_repeat_are_one_kernel():
    f, args = WRITTEN_OUT["runge_kutta"](120)
    both = ga.value_and_grad(f, wrt=(0, 1)).lower(*args)
    pieces = len(both.program.regions)
    assert pieces > 60
    assert len({k.source for k in both.kernels}) < pieces / 4


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_gradients_against_differences(name):
    f, args = WRITTEN_OUT[name](8 if name in SQUARED else 20)
    rng, h = np.random.default_rng(0), 1e-5
    for k, x in enumerate(args):
        along = rng.normal(size=np.shape(x))
        ahead, behind = list(args), list(args)
        ahead[k], behind[k] = x + h * along, x - h * along
        slope = np.sum(ga.grad(f, wrt=k)(*args) * along)
        if name != "stencil_in_place":  # NumPy arrays have no .at
            want = (f(*ahead) - f(*behind)) / (2 * h)
            np.testing.assert_allclose(slope, want, rtol=1e-5, atol=1e-7)
