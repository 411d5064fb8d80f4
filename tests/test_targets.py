"""What code is made for: CPUs of other widths and platforms, and both targets at once."""

import ast
import sys
import threading

import llvmlite.binding as llvm
import numpy as np
import pytest
from kernel_cases import PROGRAMS, cases, sources_of
from objects import undefined

import graphad as ga
from graphad.compile import build, cache, machine_code, nvvm
from graphad.emit.emission import kernels_of
from graphad.emit.source import Facts, KernelSource
from graphad.emit.target import CUDA, Module, cpu, host, masked
from graphad.lower.straight import StraightLoop
from graphad.run import executor, gate_source, team
from graphad.run.image import all_kernels

PLATFORMS = {
    "aarch64-unknown-linux-gnu": cpu("aarch64-unknown-linux-gnu", "generic", "+neon"),
    "arm64-apple-macosx": cpu("arm64-apple-macosx", "apple-m1", "+neon"),
    "x86_64-pc-windows-msvc": cpu("x86_64-pc-windows-msvc", "x86-64-v3", "+avx,+avx2,+fma"),
}
EVERYWHERE = {"malloc", "free", "memcpy", "memset", "memmove"} | {
    f"{name}{f}" for name in ("sin", "cos", "tan", "fmod") for f in ("", "f")
}
THREADS = {"pthread_create", "pthread_detach", "sem_init", "sem_post", "sem_wait", "sched_yield",
           "sched_getcpu", "sched_getaffinity", "sched_setaffinity", "getpid"}  # fmt: skip
C_LIBRARY = {
    "aarch64-unknown-linux-gnu": EVERYWHERE | THREADS,
    "arm64-apple-macosx": EVERYWHERE | {"bzero", "memset_pattern16"},
    "x86_64-pc-windows-msvc": EVERYWHERE | {"__chkstk"},  # which is in every process's ntdll.dll
}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_objects_for_other_platforms_name_only_what_is_there(platform):
    target = PLATFORMS[platform]
    own = [*executor.ALWAYS, executor.PRODUCT_SOURCE, executor.REPEAT_SOURCE, executor.FILL_SOURCE,
           executor.CHOICE_SOURCE, executor.STRIPS_SOURCE, gate_source.GATE_SOURCE,
           *(team.TEAM_SOURCES if target.threads else ())]  # fmt: skip
    kernels = {s for _, f, args in cases() for s in sources_of(f, args)}
    sources = build.with_functions([*own, *kernels])
    assert len(sources) > 500
    ours = {s.symbol for s in sources}
    libraries = {f"graphad_{w}" for s in sources for w in s.calls("lapack_", "special_")}
    for source in sources:
        unknown = undefined(machine_code.object_of(source, target)) - ours - libraries
        assert unknown <= C_LIBRARY[platform], (unknown, source.code)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_names_that_are_not_there_are_found(platform):
    """What the test above rests on."""
    target = PLATFORMS[platform]
    text = f"""
    target triple = "{target.triple}"
    declare double @exp10(double)
    declare void @a_name_that_is_longer_than_eight_letters()
    define double @defined(double %x) {{
        call void @a_name_that_is_longer_than_eight_letters()
        %y = call double @exp10(double %x)
        ret double %y
    }}"""
    made = llvm.Target.from_triple(target.triple).create_target_machine(cpu=target.cpu)
    found = undefined(made.emit_object(llvm.parse_assembly(text)))
    found -= {"_fltused"}  # of code with floats on Windows; see `Module`
    assert found == {"exp10", "a_name_that_is_longer_than_eight_letters"}


def test_threads_of_a_team_are_for_platforms_that_have_what_they_need():
    assert [t.threads for t in PLATFORMS.values()] == [True, False, False]


def test_features_without_a_sign_are_refused():
    with pytest.raises(ValueError, match=r"(?s)got: .*avx512f.*-avx512f"):
        masked("-avx, avx512f")


def test_the_target_is_the_modules_and_no_other_threads():
    """Code for the CPU and for the GPU made by threads at the same time."""
    nvvm.compiler()
    sources = [s for name in ("chain", "single", "random") for s in sources_of(*PROGRAMS[name])]
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
    for source in [s for name in PROGRAMS for s in sources_of(*PROGRAMS[name])] + more:
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
