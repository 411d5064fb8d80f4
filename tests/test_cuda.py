"""The second target without a GPU: PTX, the simulator, and the error of a call."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import graphad as ga

SCRIPT = pathlib.Path(__file__).parent / "cuda_programs.py"


def run(mode):
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1" if mode == "simulate" else "0"}
    done = subprocess.run([sys.executable, str(SCRIPT), mode], env=environment,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return int(done.stdout.split()[-1])


def test_kernels_compile_to_ptx():
    assert run("ptx") > 20


def test_programs_in_the_simulator():
    assert run("simulate") > 150


def test_a_call_without_a_gpu_says_so():
    f = ga.function(np.sin, device="cuda")
    try:
        from numba import cuda

        if cuda.is_available():
            np.testing.assert_allclose(f(np.ones(3)), np.sin(np.ones(3)))
            return
    except ImportError:
        pass
    with pytest.raises(RuntimeError, match="no GPU here"):
        f(np.ones(3))
    assert ga.function(np.sin, device="cuda").lower(np.ones(3)).program.regions
