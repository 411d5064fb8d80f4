"""Random programs through every pass, against NumPy; and both derivative modes, by the adjoint.

`python -m tests.random_soak` runs many more.
"""

import importlib
from unittest import mock

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from program_interpreter import run_program
from random_programs import TABLE_BINARY, TABLE_UNARY, programs

import graphad as ga
from graphad import pipeline
from graphad.graph import Graph, check
from graphad.lower.straight import takes
from graphad.op import TABLE
from graphad.pipeline import GRAPH_PASSES, LARGE_PASSES
from graphad.reference import evaluate
from graphad.special import HIDDEN

nest, strips, expand = (
    importlib.import_module(f"graphad.lower.{m}") for m in ("nest", "strips", "expand")
)
QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True,
         "phases": [Phase.explicit, Phase.generate]}  # fmt: skip


def assert_same(got, want, note=""):
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-9, atol=1e-9, err_msg=note)


def through_every_pass(graph: Graph, arrays, want):
    """Evaluate after each pass: graphs by the reference, the program by its interpreter."""
    assert str(Graph.parse(str(check(graph)))) == str(graph)
    assert_same(evaluate(graph, arrays), want, "traced")
    with mock.patch.multiple(pipeline, takes=no, takes_each=no, takes_loop=no):
        stages(graph, arrays, want)


def no(_):
    """Straight-line code is for the compiled tests: the interpreter walks loops."""
    return False


def stages(graph, arrays, want):
    stage = graph
    for step in GRAPH_PASSES + LARGE_PASSES:
        stage = step.check(step.run(stage))
        if isinstance(stage, Graph):
            assert_same(evaluate(stage, arrays), want, step.name)
        elif stage.offsets or step.name == "plan memory":
            assert_same(run_program(stage, arrays), want, step.name)


def directions(run, arrays, seed):
    rng = np.random.default_rng(seed)
    outs = run(*arrays)
    ts = tuple(rng.normal(size=a.shape) for a in arrays)
    cts = tuple(rng.normal(size=np.shape(o)) for o in outs)
    return ts, cts


def check_program(run, arrays, compiled: bool):
    """With the bounds of what is for large arrays lowered: the arrays here are small."""
    with (
        mock.patch.object(nest, "SHORTEST_ROW", 2),
        mock.patch.multiple(strips, FEWEST_ROWS=2, SHORTEST=1, LONGEST=2),
        mock.patch.object(expand, "SMALL_PRODUCT", 0),
    ):
        return check_with_nests(run, arrays, compiled)


def check_with_nests(run, arrays, compiled: bool):
    with np.errstate(all="ignore"):
        want = [np.asarray(o) for o in run(*arrays)]
    f = ga.function(run)
    through_every_pass(f.lower(*arrays).traced, arrays, want)
    wrt = tuple(range(len(arrays)))
    ts, cts = directions(run, arrays, 1)
    push, pull = ga.jvp(run, wrt=wrt), ga.vjp(run, wrt=wrt)
    forward, reverse = push.lower(*arrays, tangents=ts), pull.lower(*arrays, cotangents=cts)
    out_f = evaluate(forward.traced, [*arrays, *ts])
    out_r = evaluate(reverse.traced, [*arrays, *cts])
    through_every_pass(forward.traced, [*arrays, *ts], out_f)
    through_every_pass(reverse.traced, [*arrays, *cts], out_r)
    n = len(want)
    left = sum(np.sum(c * t) for c, t in zip(cts, out_f[n:], strict=True))
    right = sum(np.sum(g * t) for g, t in zip(out_r[n:], ts, strict=True))
    if np.isfinite(left) and abs(left) < 1e8:
        np.testing.assert_allclose(left, right, rtol=1e-8, atol=1e-8)
    if compiled:
        assert_same([np.asarray(o) for o in f(*arrays)], want)
        outs, grads = pull(*arrays, cotangents=cts)
        assert_same([*map(np.asarray, outs), *grads], out_r)
    return takes(forward.graph)


def test_the_table_is_in_the_random_programs():
    elementwise = [op for op in TABLE.ops.values()
                   if op.meaning is not None and op.name not in HIDDEN]  # fmt: skip
    assert len(TABLE_UNARY) + len(TABLE_BINARY) >= len(elementwise)


@settings(max_examples=2000, **QUIET)
@given(programs())
def test_passes(program):
    run, arrays = program
    check_program(run, arrays, compiled=False)


@settings(max_examples=100, **QUIET)
@given(programs(), st.booleans())
def test_compiled(program, large):
    import graphad.lower.straight as small

    run, arrays = program
    before = small.MOST_WORK
    small.MOST_WORK = -1 if large else before
    try:
        check_program(run, arrays, compiled=True)
    finally:
        small.MOST_WORK = before


@settings(max_examples=10, **QUIET)
@given(programs(scale=20, most_steps=5))
def test_compiled_with_products_by_blas(program):
    run, arrays = program
    want = [np.asarray(o) for o in run(*arrays)]
    assert_same([np.asarray(o) for o in ga.function(run)(*arrays)], want)
