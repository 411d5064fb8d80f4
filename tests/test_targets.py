"""What code is made for: CPUs of other widths and platforms, and both targets at once."""

import ast
import os
import subprocess
import sys
import threading

import llvmlite.binding as llvm
import numpy as np
import pytest
from objects import undefined

import graphad as ga
from graphad.compile import build, cache, machine_code, nvvm
from graphad.emit.emission import kernels_of
from graphad.emit.source import Facts, KernelSource
from graphad.emit.target import CUDA, Module, cpu, host, masked
from graphad.lower.straight import StraightLoop
from graphad.run import executor, gate_source
from graphad.run.image import all_kernels

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 40))
KEY = ga.random.key(5)
PROGRAMS = {
    "chain": (lambda x: np.tanh(x) * np.exp(-x * x) + np.sin(x) ** 3 + np.log(x * x), (X,)),
    "single": (lambda x: (np.log1p(np.exp(x)), x.sum(axis=0), np.floor(x)), (X.astype("f4"),)),
    "sums": (lambda x: (x.sum(), x.max(axis=1), x @ x[0], x.T @ x[:, 0]), (X,)),
    "gather": (lambda x, i: x[i] * 2 + i[:, None], (X, RNG.integers(-300, 300, 400))),
    "integers": (lambda i: (i**3 // 7, i % 5, -i), (RNG.integers(-50, 50, 900),)),
    "random": (lambda key: (ga.random.normal(key, (90,)), ga.random.uniform(key, (70,), "f4")), (KEY,)),
    "draws": (lambda key, x: ga.random.categorical(key, x, 5, replace=False), (KEY, X)),
    "sort": (lambda x: np.sort(x, axis=0), (X,)),
    "small": (lambda x: np.linalg.inv(x[:3, :3]) @ np.arctan2(x[0, :3], 2.0), (X,)),
    "steps": (lambda x: ga.scan(lambda c, r: (np.sin(c) + r, c), x[0], x)[0], (X,)),
    "factors": (lambda x: np.linalg.cholesky(x.T @ x), (X,)),
}  # fmt: skip
PLATFORMS = {
    "aarch64-unknown-linux-gnu": cpu("aarch64-unknown-linux-gnu", "generic", "+neon"),
    "arm64-apple-macosx": cpu("arm64-apple-macosx", "apple-m1", "+neon"),
    "x86_64-pc-windows-msvc": cpu("x86_64-pc-windows-msvc", "x86-64-v3", "+avx,+avx2,+fma"),
}
C_LIBRARY = {"malloc", "free", "memcpy", "memset", "memmove", "bzero"} | {
    f"{name}{f}" for name in ("sin", "cos", "tan", "fmod") for f in ("", "f")
}
OF_WINDOWS = {"__chkstk"}  # of ntdll.dll, in every process


def sources_of(name):
    f, args = PROGRAMS[name]
    kernels = all_kernels(ga.function(f).lower(*args).kernels)
    return [k.source for k in kernels] + [t.source for k in kernels for t in k.totals]


def every_source():
    own = [*executor.ALWAYS, executor.PRODUCT_SOURCE, executor.REPEAT_SOURCE, executor.FILL_SOURCE,
           executor.CHOICE_SOURCE, executor.STRIPS_SOURCE, gate_source.GATE_SOURCE]  # fmt: skip
    return build.with_functions([*own, *(s for name in PROGRAMS for s in sources_of(name))])


@pytest.mark.parametrize("platform", PLATFORMS)
def test_objects_for_other_platforms_name_only_what_is_there(platform):
    sources, target = every_source(), PLATFORMS[platform]
    ours = {s.symbol for s in sources}
    libraries = {f"graphad_{w}" for s in sources for w in s.calls("lapack_", "special_")}
    known = C_LIBRARY | ours | libraries | (OF_WINDOWS if target.windows else set())
    for source in sources:
        names = undefined(machine_code.object_of(source, target))
        assert names <= known, (names - known, source.code)


def test_threads_of_a_team_are_for_platforms_that_have_what_they_need():
    assert [t.threads for t in PLATFORMS.values()] == [True, False, False]


@pytest.mark.parametrize("changes, bits", [("-avx", 128), ("-avx2", 128), ("-avx512f", 256),
                                           ("+avx,+avx2,+avx512f,+avx512vl,+avx512dq,+avx512bw", 512)])  # fmt: skip
def test_vectors_of_every_width_are_sound(changes, bits):
    target = masked(changes)
    if not target.x86:
        pytest.skip("the features of another CPU")
    assert target.bits == min(bits, 512 if bits == 512 else host().bits)
    assert target.key in cache.build_key(target) and target.key != host().key
    for name in ("chain", "single", "random", "sums"):
        for source in build.with_functions(sources_of(name)):
            module = machine_code.optimised(source, machine_code.text_of(source, target), target)
            module.verify()


def test_features_without_a_sign_are_refused():
    with pytest.raises(ValueError, match=r"(?s)got: .*avx512f.*-avx512f"):
        masked("-avx, avx512f")


RUN = """
import numpy as np, graphad as ga
from graphad.emit.target import host
x = np.random.default_rng(0).normal(size=(300, 40))
f = ga.function(lambda x, k: (np.tanh(x) * np.exp(x), x.sum(axis=0), ga.random.normal(k, (99,))))
print(host().bits, *(np.asarray(r).tobytes().hex() for r in f(x, ga.random.key(3))))
"""


def test_masked_features_give_the_same_bits():
    results = {}
    for changes in ("", "-avx512f", "-avx,-avx2"):
        environment = os.environ | {"GRAPHAD_CPU_FEATURES": changes}
        done = subprocess.run([sys.executable, "-c", RUN], env=environment, capture_output=True,
                              text=True, check=True)  # fmt: skip
        bits, *results[changes] = done.stdout.split()
        assert int(bits) == {"": host().bits, "-avx512f": min(host().bits, 256)}.get(changes, 128)
    assert results[""] == results["-avx512f"] == results["-avx,-avx2"]


def test_the_target_is_the_modules_and_no_other_threads():
    """Code for the CPU and for the GPU made by threads at the same time."""
    nvvm.compiler()
    sources = [s for name in ("chain", "single", "random") for s in sources_of(name)]
    on_device = [ga.function(f, device="cuda").lower(*args).kernels[0].source
                 for f, args in (PROGRAMS["chain"], PROGRAMS["single"])]  # fmt: skip
    alone = [machine_code.text_of(s) for s in sources], [nvvm.llvm_of(s) for s in on_device]
    wrong = []

    def work(which):
        for _ in range(6):
            if which:
                made = [nvvm.llvm_of(s) for s in on_device]
            else:
                made = [machine_code.text_of(s) for s in sources]
            if made != alone[which]:
                wrong.append(which)

    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(k % 2,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch)
    assert not wrong
    assert "fneg" in "".join(alone[0]) and "fneg" not in "".join(alone[1])


def test_a_source_is_a_value():
    a, b = (
        KernelSource("def kernel():\n    return 0\n"),
        KernelSource("def kernel():\n    return 0\n"),
    )
    assert a == b and hash(a) == hash(b) and cache.hash_of(a) == cache.hash_of(b)
    fast = a.with_facts(fastmath=True)
    assert fast != a and cache.hash_of(fast) != cache.hash_of(a) and fast.code == a.code
    assert cache.hash_of(a, masked("-avx")) != cache.hash_of(a)
    with pytest.raises(AttributeError):
        a.code = ""
    words = KernelSource("x = exp_f8(special_zeta(1.0, 2.0)) + sum_f4(a, b, c)", Facts()).words
    assert words == {"exp_f8", "special_zeta", "sum_f4"}


def test_sources_that_may_fail_say_so():
    f, args = PROGRAMS["small"]
    more = [k.source for k in all_kernels(ga.function(f, device="cuda").lower(*args).kernels)]
    seen = set()
    for source in [s for name in PROGRAMS for s in sources_of(name)] + more:
        returned = [n.value for n in ast.walk(ast.parse(source.code)) if isinstance(n, ast.Return)]
        status = any(not isinstance(v, ast.Constant) or v.value != 0 for v in returned)
        assert source.facts.fails or not status, source.code
        seen.add(source.facts.fails)
    assert seen == {True, False}


def test_a_program_is_lowered_once_and_emitted_for_every_target():
    """What is lowered holds no source, prints, and is left as it is by the emission."""
    for name in PROGRAMS:
        f, args = PROGRAMS[name]
        program = ga.function(f).lower(*args).program
        shown = str(program)
        assert "def kernel" not in shown and "load_f8" not in shown
        for target in (host(), masked("-avx"), PLATFORMS["arm64-apple-macosx"]):
            assert len(kernels_of(program, target)) == len(program.regions)
        assert str(program) == shown
    small = str(ga.function(lambda x: np.sin(x[0]) * x[1]).lower(np.ones(2)).program)
    assert "straight-line, p0 = b0, p1 = b1" in small and "v2 = sin(v0)" in small, small


def test_steps_of_small_bodies_print():
    def body(c, row):
        return np.sin(c) + row, c * 2.0

    program = ga.function(lambda x: ga.scan(body, x[0], x)).lower(np.ones((50, 2))).program
    assert any(isinstance(r, StraightLoop) for r in program.regions)
    assert "straight-line 50 times" in str(program) and "sin(c0_0)" in str(program)


def test_modules_of_other_makers_are_for_this_cpu():
    from llvmlite import ir

    from graphad.emit.target import target_of

    assert target_of(ir.Module()) is host() and target_of(Module(CUDA)).cuda
    assert host().platform == llvm.get_process_triple()
