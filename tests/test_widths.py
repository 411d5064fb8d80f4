"""Vectors of 128, 256 and 512 bits: the same bits on each that this CPU has, sound code on the others."""

import os
import pickle
import subprocess
import sys

import llvmlite.binding as llvm
import numpy as np
import pytest
from kernel_cases import PROGRAMS, cases, sources_of

import graphad as ga
from graphad.compile import build, cache, machine_code
from graphad.emit.target import host, masked

AVX512 = "+avx,+avx2,+fma,+avx512f,+avx512vl,+avx512dq,+avx512bw"
WIDTHS = {128: "-avx512f,-avx2,-avx", 256: "-avx512f", 512: AVX512}
x86 = pytest.mark.skipif(not host().x86, reason="the features of another CPU")


def values():
    """The bytes of every result."""
    found = {}
    for name, f, args in cases():
        result = ga.function(f)(*args)
        results = result if isinstance(result, tuple) else (result,)
        found[name] = [np.asarray(r).tobytes() for r in results]
    return found


@pytest.fixture(scope="module")
def here():
    return values()


@x86
@pytest.mark.parametrize("width", WIDTHS)
def test_values_have_the_same_bits_at_every_width(width, here):
    if width == host().bits:
        pytest.skip("the width that the others are compared with")
    if width > host().bits:
        pytest.skip(f"vectors of {width} bits do not run on this CPU")
    script = "import pickle, sys, test_widths as t; from graphad.emit.target import host\n" \
             "pickle.dump((host().bits, t.values()), sys.stdout.buffer)"  # fmt: skip
    path = os.pathsep.join([os.path.dirname(__file__), *filter(None, sys.path)])
    environment = os.environ | {"GRAPHAD_CPU_FEATURES": WIDTHS[width], "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    bits, found = pickle.loads(done.stdout)
    assert bits == width and found.keys() == here.keys() and len(here) > 500
    assert [name for name in here if found[name] != here[name]] == []


@x86
@pytest.mark.parametrize("width", WIDTHS)
def test_code_of_every_width_is_sound_and_uses_its_registers(width):
    target = masked(WIDTHS[width])
    assert target.bits == min(width, 512 if width == 512 else host().bits)
    assert target.key in cache.build_key(target)
    machine = llvm.Target.from_triple(target.platform).create_target_machine(
        cpu=target.cpu, features=target.features)  # fmt: skip
    text = ""
    for source in build.with_functions(s for name in PROGRAMS for s in sources_of(*PROGRAMS[name])):
        module = machine_code.optimised(source, machine_code.text_of(source, target), target)
        module.verify()
        text += machine.emit_assembly(module)
    registers = {"%xmm": 128, "%ymm": 256, "%zmm": 512}
    assert max(bits for name, bits in registers.items() if name in text) == target.bits


@x86
def test_every_example_has_machine_code_of_512_bits():
    target = masked(AVX512)
    sources = {s for _, f, args in cases() for s in sources_of(f, args)}
    for source in build.with_functions(sources):
        assert machine_code.object_of(source, target)
