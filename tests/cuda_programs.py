"""`python tests/cuda_programs.py simulate | ptx | device`: programs on the second target.

The first two need no GPU. A process of its own, since Numba decides on the simulator when it is
imported. `device 2 8` runs the third of eight shares of the programs.
"""

import importlib
import pathlib
import re
import sys
import traceback

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from arrays import ARRAYS, names_in

import graphad as ga
from graphad.emit.kernel import Kernel
from graphad.op import TABLE
from graphad.ops.value import apply
from graphad.runtime import cuda

RNG = np.random.default_rng(0)
X = RNG.normal(size=(9, 40))
W = RNG.normal(size=(40, 40)) / 6
OF_SCIPY = {"erfcinv", "gamma", "beta", "i0", "i1", "j0", "j1"}  # SciPy's code, on the CPU only


def elementwise(dtype):
    """Every elementwise operation that a GPU has, in one program: (function, arguments)."""
    names, arguments = [], []
    for name, op in TABLE.ops.items():
        if op.meaning is None or name in OF_SCIPY:
            continue
        domain = op.domain if len(op.domain) == op.arity else op.domain * op.arity
        names.append(name)
        arguments.append([RNG.uniform(*ends, 90).astype(dtype) for ends in domain])
    return lambda them: [apply(n, *xs) for n, xs in zip(names, them, strict=True)], (arguments,)


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def layer(x, w):
    h = np.tanh(x @ w)
    m = h.mean(1, keepdims=True)
    return ((h - m) / np.sqrt(((h - m) ** 2).mean(1, keepdims=True) + 1e-5) ** 1.5).sum()


PROGRAMS = {
    "elementwise": elementwise("f8"),
    "elementwise single": elementwise("f4"),
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
    if isinstance(result, dict):
        return [x for r in result.values() for x in leaves(r)]
    return [np.asarray(result)]


def examples():
    """The examples of the table, as (text, function, arguments)."""
    for pairs in TABLE.examples.values():
        for f, text in pairs:
            names = names_in(text)
            code = compile(text, "<example>", "eval")

            def run(*arrays, f=f, names=names, code=code):
                return eval(code, {"f": f, "np": np, **dict(zip(names, arrays, strict=True))})

            yield text, run, [ARRAYS[n] for n in names]


def users_programs():
    """The programs of tests/programs, and their derivatives, likewise."""
    folder = pathlib.Path(__file__).parent / "programs"
    sys.path.insert(0, str(folder))
    for file in sorted(folder.glob("*.py")):
        for name, f, args, wrt, second in getattr(
            importlib.import_module(file.stem), "PROGRAMS", ()
        ):
            yield name, f, args
            if np.ndim(f(*args)) == 0:
                yield name + " gradient", ga.value_and_grad(f, wrt=wrt), args
            else:
                yield name + " Jacobian", ga.jacobian(f, wrt=wrt), args
            if second:
                yield name + " Hessian", ga.hessian(f, wrt=wrt), args


def agrees(name, f, args):
    """Run on the device and on the CPU and compare; False where it is not covered there."""
    on_device = ga.function(f, device="cuda")
    try:
        got = leaves(on_device(*args))
    except ga.errors.NotCoveredError:
        return False
    assert isinstance(on_device.lower(*args).compile(), cuda.DeviceProgram)
    for g, w in zip(got, leaves(ga.function(f)(*args)), strict=True):
        tolerance = 1e-5 if w.dtype == np.float32 else 1e-12
        scale = np.abs(w[np.isfinite(w)]).max(initial=1.0) if w.dtype.kind == "f" else 1.0
        np.testing.assert_allclose(g, w, rtol=tolerance, atol=tolerance * scale, err_msg=name)
    return True


def simulate():
    """Every program, and every example of the table that has only loops, as the CPU has them."""
    for name, (f, args) in PROGRAMS.items():
        assert agrees(name, f, args), name
    return len(PROGRAMS) + sum(agrees(*example) for example in examples())


def device(share=0, of=1):
    """All of that and the users' programs on the GPU; every failure is told."""
    from numba import cuda as gpu

    print(gpu.get_current_device().name, flush=True)
    todo = [(name, *p) for name, p in PROGRAMS.items()] + [*users_programs(), *examples()]
    done, failed, uncovered = 0, [], []
    for name, f, args in todo[share::of]:
        try:
            if agrees(name, f, args):
                done += 1
            else:
                uncovered.append(name)
        except Exception:
            failed.append(name)
            print(f"== {name}\n{traceback.format_exc()[-1500:]}", flush=True)
    print("not covered:", *uncovered, sep="\n  ")
    print(f"failed: {failed}")
    assert not failed
    return done


def sources_of(f, args):
    """The kernels of a program."""
    for kernel in ga.function(f, device="cuda").lower(*args).kernels:
        if isinstance(kernel, Kernel):
            yield kernel.source
            yield from (t.source for t in kernel.totals)


def words_of(source):
    return set(re.findall(r"\b(\w+)\(", source))


def ptx():
    """Every kernel of the programs, and of all else those with a word that has not come before,
    as PTX for compute capability 9.0."""
    sources = {s for f, args in PROGRAMS.values() for s in sources_of(f, args)}
    known = set().union(*map(words_of, sources))
    for _, f, args in (*users_programs(), *examples()):
        for source in sources_of(f, args):
            words = words_of(source)
            if not words <= known and not any(w.startswith(("special_", "lapack_")) for w in words):
                sources.add(source)
                known |= words
    for source in sources:
        text = cuda.ptx_of(source)
        assert ".target sm_90" in text and "entry" in text, source
    return len(sources)


if __name__ == "__main__":
    mode, *share = sys.argv[1:]
    assert cuda.simulated() == (mode == "simulate")
    print({"simulate": simulate, "ptx": ptx, "device": device}[mode](*map(int, share)))
