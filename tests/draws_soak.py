"""Draws for many keys at once against single calls, each case in a process of its own:
`python -m tests.draws_soak --cases 500 --bits 128 256`; where the CPU has no vectors of 512 bits,
code for them is made and not run."""

from __future__ import annotations

import argparse
import os
import pathlib
import subprocess
import sys
import time

import llvmlite.binding as llvm

NARROWER = {128: "-avx512f,-avx2,-avx", 256: "-avx512f", 512: ""}
WIDE = "+avx,+avx2,+fma,+f16c,+avx512f,+avx512cd,+avx512bw,+avx512dq,+avx512vl"
HERE = pathlib.Path(__file__).parent


def soak(cases: int, seed: int) -> int:
    """The number of cases that differ, or end their process."""
    import numpy as np
    from draw_cases import apart, groups

    start, bad = time.perf_counter(), 0
    for name, check in groups(np.random.default_rng(seed), cases):
        said = apart(check)
        if said:
            bad += 1
            print(f"{name}:\n{said}", flush=True)
    took = time.perf_counter() - start
    print(f"{cases} cases of seed {seed}: {bad} differ, {took:.0f} s", flush=True)
    return bad


def made_for_wide_vectors(count: int) -> int:
    """Machine code for a CPU with AVX-512 of every draw for many keys."""
    sys.path.insert(0, str(HERE))
    from draw_cases import draws, within

    import graphad as ga
    from graphad.compile.build import with_functions
    from graphad.compile.machine_code import object_of
    from graphad.emit import target as targets
    from graphad.run.image import all_kernels

    target, made = targets.cpu("", "skylake-avx512", WIDE), set()
    keys = ga.random.split(ga.random.key(0), count)
    for shape in ("plain", "scan"):
        for _, draw in draws(40):
            lowered = ga.function(ga.vmap(within(draw, shape, 40))).lower(keys)
            kernels = [k.source for k in all_kernels(lowered.kernels) if not k.address]
            for source in set(with_functions(kernels)) - made:
                made.add(source)
                object_of(source, target)
    print(f"{len(made)} kernels made for 512 bits", flush=True)
    return 0


def main() -> int:
    """Run the cases at each width."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--bits", type=int, nargs="*", default=[])
    parser.add_argument("--seed", type=int, default=int(time.time()))
    chosen = parser.parse_args()
    if not chosen.bits:
        sys.path.insert(0, str(HERE))
        return soak(chosen.cases, chosen.seed)
    bad = 0
    for bits in chosen.bits:
        print(f"{bits} bits", flush=True)
        if bits == 512 and not llvm.get_host_cpu_features().get("avx512f"):
            bad += made_for_wide_vectors(500)
            continue
        settings = os.environ | {"GRAPHAD_CPU_FEATURES": NARROWER[bits]}
        again = [sys.executable, "-m", "tests.draws_soak", "--cases", str(chosen.cases)]
        again += ["--seed", str(chosen.seed)]
        bad += subprocess.run(again, env=settings, cwd=HERE.parent).returncode
    return bad


if __name__ == "__main__":
    sys.exit(min(main(), 100))
