"""The kernel language: sources compiled by Numba give the bits of those that we translate."""

import re

import numba
import numpy as np
import pytest
from numba import types
from numba.extending import intrinsic

import graphad as ga
from graphad.compile import build, machine_code
from graphad.compile.linker import Code
from graphad.compile.translate import UnknownWord, translate
from graphad.compile.words import WORDS
from graphad.emit.source import FULL, KernelSource
from graphad.emit.target import host
from graphad.lower.order import BLOCK
from graphad.njit.frame import NUMBA_TYPES, as_intrinsic
from graphad.run import image_writer


@intrinsic(prefer_literal=True)
def stack(typingctx, size):
    constant = Constant(size.literal_value)

    def codegen(context, builder, sig, args):
        return WORDS["stack"].build(builder, constant)

    return types.int64(size), codegen


class Constant:
    def __init__(self, constant):
        self.constant = constant


def namespace(source):
    names = source.words - {"stack"}
    space = {n: as_intrinsic(WORDS[n]) for n in names if n in WORDS}
    for code in NUMBA_TYPES:
        space[code] = bool if code == "b1" else getattr(np, np.dtype(code).name)
    return space | {"np": np, "BLOCK": BLOCK, "stack": stack}


def by_numba(source, keep=True):
    """A kernel compiled by Numba; the executor's own are left to us."""
    if source.facts.effort != FULL:
        return build.code_of(source, keep)
    space = namespace(source)
    exec(compile(source.code, "<kernel>", "exec"), space)
    signature = types.int64(types.int64, types.int64, types.int64)
    made = numba.cfunc(signature, error_model="numpy")(space["kernel"])
    return Code(made.address, made)


RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 301))
KEY = ga.random.key(5)
PROGRAMS = {
    "chain": (lambda x: np.tanh(x) * np.exp(-x * x) + np.sin(x) ** 3, (X,)),
    "single": (lambda x: (np.log1p(np.exp(x)), x.sum(axis=0)), (X.astype("f4"),)),
    "sums": (lambda x: (x.sum(), x.max(axis=1), np.where(x > 0, x, 0).prod(axis=1)), (X,)),
    "gather": (lambda x, i: x[i] * 2 + i[:, None], (X, RNG.integers(-70, 70, 400))),
    "integers": (lambda i: (i * 3 - 7, i > 4, np.minimum(i, 9), i**3, -i), (RNG.integers(-50, 50, 900).astype("i4"),)),
    "bools": (lambda x: np.logical_xor(x > 0, x < 0.5).astype("i8").sum(axis=0), (X,)),
    "short": (lambda x: (np.sqrt((x * x).sum(axis=-1)), x.max(axis=-1)), (RNG.normal(size=(300, 3)),)),
    "products": (lambda x, y: (x @ y[:301], x.T @ y[:70], x[:9, :40] @ y[:40], x.sum(axis=0)), (X, RNG.normal(size=400))),
    "random": (lambda key: (ga.random.normal(key, (61,)), ga.random.uniform(key, (4, 33), "f4")), (KEY,)),
    "draws": (lambda key, x: (ga.random.categorical(key, x), ga.random.categorical(key, x, 300),
                              ga.random.categorical(key, x, 5, replace=False)), (KEY, X)),
    "argmax": (lambda x: (np.argmax(x, axis=1), np.cumsum(x, axis=1)), (X,)),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_numba_compiles_the_same_bits(name, monkeypatch):
    f, args = PROGRAMS[name]
    want = ga.function(f)(*args)
    with monkeypatch.context() as patch:
        patch.setattr(image_writer, "code_of", by_numba)
        got = ga.function(f)(*args)
    for g, w in zip(np.atleast_1d(got) if not isinstance(got, tuple) else got, want if isinstance(want, tuple) else np.atleast_1d(want), strict=True):  # fmt: skip
        np.testing.assert_array_equal(g, w)


def translated(code):
    return translate(KernelSource(code), "k", host())


@pytest.mark.parametrize(
    "body, part",
    [
        ("a = f8(1.0) + f4(1.0)", "f8 with f4"),
        ("a = 1\n    a = f8(2.0)", "f8 where i8"),
        ("store_f8(table, 0, f4(1.0))", "f4 where f8"),
    ],
)
def test_the_language_is_strictly_typed(body, part):
    with pytest.raises(UnknownWord, match=part):
        translated(f"def kernel(table, start, stop):\n    {body}\n    return 0\n")


def test_loops_of_mathematics_are_interleaved():
    """Few words: four vectors at a time; more: two; sums and outer loops as LLVM likes."""
    line = "store_f8(table, i, exp_f8(load_f8(table, i)))"
    for words, count in ((1, 4), (6, 2), (20, 1)):
        body = "\n            ".join([line] * words)
        source = f"""def kernel(table, start, stop):
    for k in range(3):
        for i in range(start, stop):
            {body}
    return 0
"""
        text = translated(source)
        assert re.findall('interleave.count", i32 (.)', text) == [str(count)]
    plain = source.replace("exp_f8", "sqrt_f8")
    assert "interleave" not in translated(plain)


@pytest.mark.parametrize(
    "word", ["f8(philox_u8(u8(i), u8(3), u8(0)))", "f8(philox_u4(u8(1), u8(2), u8(3)))",
             "sin_f8(f8(2.0))", "f8(cos_f4(f4(2e9)))"],
)  # fmt: skip
def test_vector_forms_fit_calls_whose_arguments_are_always_the_same(word):
    """LLVM drops such arguments of internal functions; a form of another shape ends the process."""
    source = f"""def kernel(table, start, stop):
    for i in range(start, stop):
        store_f8(table, i, {word})
    for i in range(start, stop):
        store_f8(table, i, load_f8(stop, i) + f8(1.0))
    return 0
"""
    assert "_ZGV_LLVM" in translated(source)
    assert build.kernel_address(KernelSource(source), keep=False)


def test_a_bad_module_is_an_exception_with_the_kernels_name(monkeypatch):
    bad = """define i64 @k(i64 %x) {
  %y = call double @llvm.sqrt.f64(double 1.0) "vector-function-abi-variant"="_ZGV_LLVM_N4vv_f(g)"
  ret i64 %x
}
declare double @llvm.sqrt.f64(double)
"""
    monkeypatch.setattr(machine_code, "translate", lambda *_: bad)
    with pytest.raises(RuntimeError, match=r"refuses the kernel graphad_[0-9a-f]{40}.*VFABI"):
        source = KernelSource("def kernel(table, start, stop):\n    return 12321\n")
        build.kernel_address(source, keep=False)


def run(body, *values):
    """The result of a function of integers."""
    import ctypes

    source = f"def kernel(table, start, stop):\n{body}"
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 3)
    return kind(build.kernel_address(KernelSource(source), False))(*values)


@pytest.mark.parametrize("a, b", [(7, 2), (-7, 2), (7, -2), (-7, -2), (6, 3), (-6, 3), (0, 5)])
def test_division_is_pythons(a, b):
    assert run("    return table // start", a, b, 0) == a // b
    assert run("    return table % start", a, b, 0) == a % b


def test_statements():
    body = """
    total = 0
    for k in range(start, stop, 2):
        if k == 7:
            break
        total += k
    n = 0
    while n < 3 and total < 100:
        total = total * 2
        n += 1
    return max(total, table) if not n == 0 else -1
"""
    assert run(body, 5, 1, 20) == 72
    assert run(body, 500, 1, 20) == 500


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u1", "u4"])
def test_nests_with_integers(dtype):
    """Conversions are named like loop variables."""
    x = np.random.default_rng(0).normal(size=(64, 100))

    def f(x):
        whole = (x * 50).astype(dtype)
        total = whole.sum(-1, keepdims=True)
        return (x - total) * whole, (whole + np.asarray(3, dtype)).max(-1)

    lowered = ga.function(f).lower(x)
    assert any("row by row" in str(r) for r in lowered.program.regions)
    for got, want in zip(ga.function(f)(x), f(x), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)
