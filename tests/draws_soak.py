"""Draws for many keys at once against single calls, each case in a process of its own:
`python -m tests.draws_soak --cases 500 --bits 128 256`; 512 on a CPU with AVX-512."""

from __future__ import annotations

import argparse
import os
import pathlib
import subprocess
import sys
import time

NARROWER = {128: "-avx512f,-avx2,-avx", 256: "-avx512f", 512: ""}
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
        settings = os.environ | {"GRAPHAD_CPU_FEATURES": NARROWER[bits]}
        again = [sys.executable, "-m", "tests.draws_soak", "--cases", str(chosen.cases)]
        again += ["--seed", str(chosen.seed)]
        bad += subprocess.run(again, env=settings, cwd=HERE.parent).returncode
    return bad


if __name__ == "__main__":
    sys.exit(min(main(), 100))
