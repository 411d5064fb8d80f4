"""`python tests/cuda_programs.py simulate | ptx`: programs on the second target, without a GPU.

A process of its own, since Numba decides on the simulator when it is imported.
"""

import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from arrays import ARRAYS, names_in

import graphad as ga
from graphad.emit.kernel import Kernel
from graphad.op import TABLE
from graphad.runtime import cuda

RNG = np.random.default_rng(0)
X = RNG.normal(size=(9, 40))
W = RNG.normal(size=(40, 40)) / 6


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def layer(x, w):
    h = np.tanh(x @ w)
    m = h.mean(1, keepdims=True)
    return ((h - m) / np.sqrt(((h - m) ** 2).mean(1, keepdims=True) + 1e-5) ** 1.5).sum()


PROGRAMS = {
    "chain": (lambda x: np.tanh(x) * np.exp(-x * x) + np.sin(x) ** 3, (X,)),
    "single": (lambda x: (np.log1p(np.exp(x)), x.sum(axis=0)), (X.astype("f4"),)),
    "sums": (lambda x: (x.sum(), x.max(axis=1), np.where(x > 0, x, 0).prod(axis=1)), (X,)),
    "gather": (lambda x, i: x[i] * 2 + i[:, None], (X, RNG.integers(-9, 9, 50))),
    "integers": (lambda i: (i * 3 - 7, i > 4, np.minimum(i, 9), i**3, -i),
                 (RNG.integers(-50, 50, 90).astype("i4"),)),
    "bools": (lambda x: np.logical_xor(x > 0, x < 0.5).astype("i8").sum(axis=0), (X,)),
    "running": (lambda x: (np.argmax(x, axis=1), np.cumsum(x, axis=1)), (X,)),
    "softmax": (softmax, (X,)),
    "random": (lambda key: (ga.random.normal(key, (5, 9)), ga.random.bits(key, 9, "uint32")),
               (ga.random.key(5),)),
    "softmax gradient": (ga.grad(lambda x: (softmax(x) ** 2).sum()), (X,)),
    "layer": (ga.value_and_grad(layer, wrt=(0, 1)), (X, W)),
    "product": (lambda x, y: np.tanh(x @ y), (X, W)),
    "vectors": (lambda x, y: (x @ y, x.T @ np.ones(9) * y), (X, W[0])),
    "special": (lambda x: ga.special.erf(x) * ga.special.expit(x) + np.hypot(x, 1.0) ** 1.5, (X,)),
    "far": (lambda x: np.cos(x * 1e10) + np.arctan2(x, 0.5), (X,)),
    "small": (lambda x: np.sin(x[0]) * x[1], (X[0, :3],)),
    "scatter": (lambda x: x.at[np.array([0, 3, 3])].add(1.0), (X,)),
    "points": (ga.vmap(ga.jacobian(lambda p: np.stack([np.sin(p[0]) * p[1], p[2] ** 3]))),
               (RNG.normal(size=(100, 3)),)),
}  # fmt: skip


def leaves(result):
    if isinstance(result, (tuple, list)):
        return [x for r in result for x in leaves(r)]
    return [np.asarray(result)]


def simulate():
    """Every program, and every example of the table that has only loops, as the CPU has them."""
    done = 0
    for name, (f, args) in PROGRAMS.items():
        want = leaves(ga.function(f)(*args))
        on_device = ga.function(f, device="cuda")
        assert isinstance(on_device.lower(*args).compile(), cuda.DeviceProgram)
        got = leaves(on_device(*args))
        for g, w in zip(got, want, strict=True):
            tolerance = 1e-5 if w.dtype == np.float32 else 1e-12
            np.testing.assert_allclose(g, w, rtol=tolerance, atol=tolerance, err_msg=name)
        done += 1
    for pairs in TABLE.examples.values():
        for f, text in pairs:
            names = names_in(text)
            code = compile(text, "<example>", "eval")

            def run(*arrays, f=f, names=names, code=code):
                return eval(code, {"f": f, "np": np, **dict(zip(names, arrays, strict=True))})

            arrays = [ARRAYS[n] for n in names]
            try:
                got = ga.function(run, device="cuda")(*arrays)
            except ga.errors.NotCoveredError:
                continue
            np.testing.assert_allclose(got, run(*arrays), rtol=1e-12, atol=1e-12, err_msg=text)
            done += 1
    return done


def ptx():
    """Every kernel of the programs, as PTX for compute capability 9.0."""
    sources = {}
    for f, args in PROGRAMS.values():
        for kernel in ga.function(f).lower(*args).kernels:
            if isinstance(kernel, Kernel):
                sources[kernel.source] = None
                sources |= dict.fromkeys(t.source for t in kernel.totals)
    for source in sources:
        text = cuda.ptx_of(source)
        assert ".target sm_90" in text and "entry" in text, source
    return len(sources)


if __name__ == "__main__":
    assert cuda.simulated() == (sys.argv[1] == "simulate")
    print({"simulate": simulate, "ptx": ptx}[sys.argv[1]]())
