"""`python tests/cuda_programs.py simulate | random | ptx | numba | device`: the second target.

Only the last needs a GPU. A process of its own, since Numba decides on the simulator when it is
imported. `device 2 8` runs the third of eight shares of the programs, `random 5000` so many random programs.
"""

import importlib
import pathlib
import re
import sys
import traceback
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from arrays import ARRAYS, names_in

import graphad as ga
from graphad.compile import cuda, nvvm
from graphad.compile.words import WORDS, Primitive
from graphad.emit import cuda_words
from graphad.emit.source import KernelSource
from graphad.emit.target import CUDA
from graphad.njit.frame import as_intrinsic
from graphad.op import TABLE
from graphad.ops.value import apply
from graphad.run.device.programs import DeviceProgram
from graphad.run.image import all_kernels

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


def normal(x):
    c = x - x.mean(axis=1, keepdims=True)
    return c / np.sqrt((c * c).mean(axis=1, keepdims=True) + 1e-5)


def grouped(x):
    """Softmaxes in groups of a row, then what a row's entries say about its own mean."""
    e = np.exp(x - x.max(axis=2, keepdims=True))
    p = e / e.sum(axis=2, keepdims=True)
    return (p - p.mean(axis=(1, 2), keepdims=True)) ** 2, (p * x).sum()


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
    "long sums": (lambda x: (x.sum(), (x * x).sum(axis=0), x.min(axis=1), np.prod(x, axis=0)),
                  (RNG.uniform(0.9, 1.1, size=(70, 130)),)),
    "many parts": (lambda x: (x.sum(axis=0), x.max()), (RNG.normal(size=(4200, 3)),)),
    "across": (lambda x: (x.T.sum(axis=0), np.exp(x.swapaxes(0, 2)).sum(axis=(0, 2)), x[::-1].mean(axis=1)),
               (RNG.normal(size=(40, 3, 50)),)),
    "rows added": (lambda x, i, g: x.at[i].add(g), (X, RNG.integers(-9, 9, 12), RNG.normal(size=(12, 40)))),
    "gather": (lambda x, i: x[i] * 2 + i[:, None], (X, RNG.integers(-9, 9, 50))),
    "integers": (lambda i: (i * 3 - 7, i > 4, np.minimum(i, 9), i**3, -i),
                 (RNG.integers(-50, 50, 90).astype("i4"),)),
    "bools": (lambda x: np.logical_xor(x > 0, x < 0.5).astype("i8").sum(axis=0), (X,)),
    "running": (lambda x: (np.argmax(x, axis=1), np.cumsum(x, axis=1)), (X,)),
    "softmax": (softmax, (X,)),
    "rows": (lambda x: (normal(x), (normal(x) ** 3).sum()), (RNG.normal(size=(64, 66)),)),
    "groups in rows": (grouped, (RNG.normal(size=(66, 6, 20)),)),
    "row maxima": (lambda x: (softmax(x), softmax(x).argmax(axis=1)), (RNG.normal(size=(64, 66)),)),
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
    """The programs and models of tests/programs, and their derivatives, likewise."""
    folder = pathlib.Path(__file__).parent / "programs"
    sys.path.insert(0, str(folder))
    worlds = importlib.import_module("worlds")
    for module in (importlib.import_module(f.stem) for f in sorted(folder.glob("*.py"))):
        for name, f, args, wrt, second in getattr(module, "PROGRAMS", ()):
            yield name, f, args
            if np.ndim(f(*args)) == 0:
                yield name + " gradient", ga.value_and_grad(f, wrt=wrt), args
            else:
                yield name + " Jacobian", ga.jacobian(f, wrt=wrt), args
            if second:
                yield name + " Hessian", ga.hessian(f, wrt=wrt), args
        for name, model, args in getattr(module, "MODELS", ()):

            def run(*args, model=model):
                return model(worlds.GRAPHAD, *args)

            weights = np.ones(np.shape(run(*args)))[()]
            pull = ga.vjp(run, wrt=tuple(range(len(args))))
            yield name, run, args
            yield name + " vjp", lambda *a, g=pull, w=weights: g(*a, cotangents=w), args


def agrees(name, f, args):
    """Run on the device and on the CPU and compare; False where it is not covered there."""
    on_device = ga.function(f, device="cuda")
    try:
        got = leaves(on_device(*args))
    except ga.errors.NotCoveredError:
        return False
    assert isinstance(on_device.lower(*args).compile(), DeviceProgram)
    for g, w in zip(got, leaves(ga.function(f)(*args)), strict=True):
        tolerance = 1e-5 if w.dtype == np.float32 else 1e-12
        scale = np.abs(w[np.isfinite(w)]).max(initial=1.0) if w.dtype.kind == "f" else 1.0
        np.testing.assert_allclose(g, w, rtol=tolerance, atol=tolerance * scale, err_msg=name)
    return True


def calls():
    """Arrays that are on the device already, sizes that change, and errors."""
    from numba import cuda as gpu

    f = ga.function(lambda x, s: (np.tanh(x) * s, x.sum(), x[:0]), device="cuda")
    x = gpu.to_device(X)
    for _ in range(2):
        y, total, none = f(x, 2.0)
        np.testing.assert_allclose(y.copy_to_host(), np.tanh(X) * 2, rtol=1e-14)
        np.testing.assert_allclose(total.copy_to_host(), X.sum(), rtol=1e-13)
        assert none.shape == (0, 40)
    again, _, _ = f(y, gpu.to_device(np.array(0.5)))
    np.testing.assert_allclose(again.copy_to_host(), np.tanh(np.tanh(X) * 2) / 2, rtol=1e-14)
    with pytest.raises(ga.errors.ShapeError, match="contiguous"):
        f(x[:, ::2], 2.0)
    pick = ga.function(lambda x, i: x[i] * 2, device="cuda")
    for there in (X, x, X[:0]):
        with pytest.raises(IndexError, match="out of bounds"):
            pick(there, np.array([1, 99]))
    assert np.array_equal(pick(X, np.array([1, -1])), X[[1, -1]] * 2)
    inverse = ga.function(np.linalg.inv, device="cuda")
    with pytest.raises(np.linalg.LinAlgError):
        inverse(np.zeros((2, 2)))
    assert np.array_equal(inverse(2 * np.eye(2)), np.eye(2) / 2)
    slope = ga.grad(ga.function(lambda x: (x * x).sum(), device="cuda"))
    np.testing.assert_allclose(slope(x).copy_to_host(), 2 * X, rtol=1e-15)
    with pytest.raises(ga.errors.NotCoveredError, match="njit"):
        inverse.njit(np.eye(2))
    means = ga.function(lambda x: x.mean(axis=0), signature=ga.spec("n 3"), device="cuda")
    for n in (4, 70):
        np.testing.assert_allclose(means(X.ravel()[: 3 * n].reshape(n, 3)),
                                   X.ravel()[: 3 * n].reshape(n, 3).mean(axis=0), rtol=1e-13)  # fmt: skip
    return 1


def simulate():
    """Every program, and of the users' and the table's examples those that are covered, as the CPU
    has them."""
    calls()
    for name, (f, args) in PROGRAMS.items():
        assert agrees(name, f, args), name
    return len(PROGRAMS) + sum(agrees(*p) for p in (*users_programs(), *examples()))


def random(count=80):
    """Random programs and their vjps, in the simulator or on a GPU, with the bounds of what is for
    large arrays lowered: nests, teams and parts of sums are to occur."""
    from hypothesis import HealthCheck, Phase, given, settings
    from random_programs import programs

    from graphad import pipeline
    from graphad.emit import gpu
    from graphad.lower import apart as rows

    nests = importlib.import_module("graphad.lower.nest")
    seen = {"covered": 0, "nests": 0, "teams": 0, "parts": 0}

    def checked(f, args):
        if not agrees("random", f, args):
            return
        kernels = ga.function(f, device="cuda").lower(*args).kernels
        seen["covered"] += 1
        seen["nests"] += any(k.source.calls("own_") for k in kernels if k)
        seen["teams"] += any(getattr(k, "team", 1) > 1 for k in kernels)
        seen["parts"] += any(getattr(k, "then", ()) for k in kernels)

    quiet = {"deadline": None, "database": None, "phases": [Phase.generate]}

    @settings(
        max_examples=count, suppress_health_check=list(HealthCheck), derandomize=True, **quiet
    )
    @given(programs())
    def check(program):
        run, arrays = program
        with np.errstate(all="ignore"):
            cotangents = tuple(RNG.normal(size=np.shape(o)) for o in run(*arrays))
        pull, n = ga.vjp(run, wrt=tuple(range(len(arrays)))), len(arrays)
        checked(run, arrays)
        checked(lambda *a: pull(*a[:n], cotangents=a[n:]), [*arrays, *cotangents])

    small = {"CHUNK": {True: 4, False: 2}, "STEPS": {True: 4, False: 8}, "WARP": 2}
    with (
        mock.patch.multiple(pipeline, takes=no, takes_each=no),
        mock.patch.multiple(nests, SHORTEST_ROW=2, LEAST_BYTES=-1),
        mock.patch.multiple(rows, FEWEST_ROWS=2, SHORTEST_ROW=2),
        mock.patch.multiple(gpu, **small),
    ):
        check()
    print(seen)
    assert all(seen.values()), seen
    return seen["covered"]


def no(_):
    """Straight-line code is for the other programs."""
    return False


def device(share=0, of=1):
    """All of that and the users' programs on the GPU; every failure is told."""
    from numba import cuda as gpu

    print(gpu.get_current_device().name, flush=True)
    if share == 0:
        calls()
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
    """The kernels of a program, those of loops over steps too."""
    for kernel in all_kernels(ga.function(f, device="cuda").lower(*args).kernels):
        yield from getattr(kernel, "sources", [kernel.source])


def ptx():
    """Every kernel of every program as PTX for compute capability 9.0; as machine code those of the
    programs above, and of the others those with a word that has not come before."""
    sources = {s for f, args in PROGRAMS.values() for s in sources_of(f, args)}
    known, others = set().union(*(s.words for s in sources)), set()
    for _, f, args in (*users_programs(), *examples()):
        for source in sources_of(f, args):
            if source.calls("special_", "lapack_"):
                continue
            (others if source.words <= known else sources).add(source)
            known |= source.words
    for source in sources | others:
        text = nvvm.ptx_of(source)
        assert ".target sm_90" in text and ".visible .entry entry(" in text, source
        assert ".extern .func" not in text, source  # nothing is left for a library
    for source in sources:
        assert nvvm.code_of(source).startswith(b"\x7fELF"), source
    return len(sources | others)


def numba_entry(source):
    """What runs a kernel as a function that numba-cuda compiles, its words intrinsics."""
    from numba import cuda as gpu

    space = {"np": np, "BLOCK": cuda_words.BLOCK}
    space |= {code: cuda_words.type_of(code) for code in cuda_words.CODES}
    code = source.code
    for size in set(re.findall(r"\bstack\((\d+)\)", code)):
        code = code.replace(f"stack({size})", f"stack_{size}()")
        space[f"stack_{size}"] = stack_of(int(size))
    texts = cuda_words.device_functions(source) | {"kernel": code}
    entry = cuda_words.entry_source(source).replace("-> i8", "").replace("return 0", "return")
    known = WORDS | nvvm.words_of(source)
    for name in KernelSource(entry + "".join(texts.values())).words - set(texts):
        if name in known:
            space[name] = word_of(known[name])
    for name, text in texts.items():
        exec(compile(text, f"<graphad {name}>", "exec"), space)
        space[name] = gpu.jit(device=True)(space[name])
    exec(compile(entry, "<graphad entry>", "exec"), space)
    return space["entry"]


def word_of(primitive):
    """A word as an intrinsic of numba-cuda."""
    from numba.cuda.extending import intrinsic

    return as_intrinsic(primitive, intrinsic, CUDA)


def stack_of(size):
    """`stack(size)` of one size."""
    constant = SimpleNamespace(constant=size)
    return word_of(Primitive((), "i8", lambda b: WORDS["stack"].build(b, constant)))


def numba():
    """The same kernels by numba-cuda itself: sources are a subset of its language."""
    from numba import cuda as gpu
    from numba import types
    from numba.cuda import dispatcher

    # Device functions are compiled for the device at hand: here for one that is only named.
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=(9, 0))
    sources = {}
    for f, args in PROGRAMS.values():
        for source in sources_of(f, args):
            sources[source.words] = source
    for source in sources.values():
        gpu.compile(numba_entry(source), types.void(*[types.int64] * 6), cc=(9, 0),
                    device=False, abi="numba", output="ptx")  # fmt: skip
    return len(sources)


if __name__ == "__main__":
    mode, *share = sys.argv[1:]
    assert cuda.simulated() or mode != "simulate"
    modes = {f.__name__: f for f in (simulate, random, ptx, numba, device)}
    print(modes[mode](*map(int, share)))
