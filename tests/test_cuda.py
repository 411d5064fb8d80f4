"""The second target: PTX, numba-cuda, its simulator (none needs a GPU), and a GPU if there is one."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import graphad as ga

SCRIPT = pathlib.Path(__file__).parent / "cuda_programs.py"


def run(mode):
    simulated = mode in ("simulate", "random")
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": str(int(simulated))}
    done = subprocess.run([sys.executable, str(SCRIPT), mode], env=environment,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return int(done.stdout.split()[-1])


def has_gpu():
    try:
        from numba import cuda

        return hasattr(cuda, "is_available") and cuda.is_available()
    except ImportError:
        return False


def test_kernels_compile_to_ptx_and_machine_code():
    assert run("ptx") > 800


def test_kernels_compile_by_numba_cuda():
    assert run("numba") > 30


def test_programs_in_the_simulator():
    assert run("simulate") > 350


WITH_OUT = """
import numpy as np, graphad as ga
table = np.arange(8.0)
f = ga.function(lambda x: (x * 2 + 1, x.sum(), table[2:6] + x), device="cuda")
x = np.arange(4.0)
for _ in range(3):
    table[:] = np.arange(8.0)
    out = np.empty(4), np.empty(()), table[3:7]
    assert f(x, out=out) is out
    np.testing.assert_array_equal(out[0], x * 2 + 1)
    assert out[1] == 6.0
    np.testing.assert_array_equal(out[2], np.arange(2.0, 6.0) + x)
"""


def test_results_written_where_the_caller_wants_them_in_the_simulator():
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", WITH_OUT], env=environment,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def test_random_programs_in_the_simulator():
    assert run("random") > 100


@pytest.mark.skipif(not has_gpu(), reason="no GPU here")
def test_programs_on_the_gpu():
    assert run("device") > 300


def test_a_call_without_a_gpu_says_so():
    f = ga.function(np.sin, device="cuda")
    if has_gpu():
        np.testing.assert_allclose(f(np.ones(3)), np.sin(np.ones(3)))
        return
    with pytest.raises(RuntimeError, match="no GPU here"):
        f(np.ones(3))
    assert ga.function(np.sin, device="cuda").lower(np.ones(3)).program.regions


def test_ptx_is_a_stage_that_needs_no_gpu():
    stages = ga.function(lambda x: np.tanh(x).sum(axis=1), device="cuda").lower(ga.spec("2000 90"))
    assert ".visible .entry entry(" in stages.llvm and "team_sum_f8" in stages.source
    points = ga.function(np.tanh, device="cuda").lower(ga.spec("n"))
    assert "lanes()" not in points.source


def test_teams_stay_teams_with_fast_math():
    """In whatever order a kernel's notes stand: each thread alone would sum the rows again."""
    from graphad.emit.cuda_words import TOGETHER, entry_source

    f = ga.function(lambda x: (x * x).sum(axis=1), device="cuda", fastmath=True)
    (kernel,) = f.lower(ga.spec("7 300")).kernels
    assert kernel.team > 1 and TOGETHER in entry_source(kernel.source)


def test_sums_over_several_axes_are_loops_apart():
    f = ga.function(lambda x: (x.sum(axis=0), x.sum(axis=1)), device="cuda")
    assert len(f.lower(np.ones((300, 40))).program.regions) == 2


def test_long_sums_of_few_results_are_taken_in_parts():
    (kernel,) = ga.function(lambda x: x.sum(), device="cuda").lower(ga.spec("1000000")).kernels
    assert kernel.stop > 100 and len(kernel.then) == 1
    (rows,) = ga.function(lambda x: x.sum(axis=1), device="cuda").lower(ga.spec("9000 700")).kernels
    assert rows.stop == 9000 and rows.team > 1 and not rows.then
