"""Seconds to a first value and gradient of programs whose loops Python writes out, against JAX's.

Run: python -m bench.written_out [steps ...]; each time is of a process of its own, nothing on disk.
`python -m bench.written_out --peer PYTHON ...` takes JAX from another environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

PROGRAMS = ("runge_kutta", "kalman", "leapfrog", "stencil_joined", "symmetric_polynomials")
LIMIT = 600  # seconds, then the row says so


def first_call(library: str, name: str, steps: int) -> float:
    """Seconds that tracing, compiling and running take here."""
    sys.setrecursionlimit(100_000)  # JAX's tracing needs it; graphad does not
    from tests import written_out

    f, args = written_out.WRITTEN_OUT[name](steps)
    which = tuple(range(len(args)))
    if library == "graphad":
        import graphad as ga

        ga.value_and_grad(lambda x: x * x)(1.0)
        start = time.perf_counter()
        ga.value_and_grad(f, wrt=which)(*args)
        return time.perf_counter() - start
    import jax

    jax.config.update("jax_enable_x64", True)
    written_out.np = jax.numpy  # the programs' own name for NumPy
    given = [jax.numpy.asarray(a) for a in args]
    jax.jit(lambda x: x * x)(1.0)
    start = time.perf_counter()
    jax.block_until_ready(jax.jit(jax.value_and_grad(f, which))(*given))
    return time.perf_counter() - start


def in_process(python: str, library: str, name: str, steps: int) -> str:
    """The same in a new process, as text."""
    with tempfile.TemporaryDirectory() as folder:
        surroundings = {**os.environ, "GRAPHAD_CACHE_DIR": folder}
        command = [python, "-m", "bench.written_out", "--one", library, name, str(steps)]
        try:
            done = subprocess.run(command, env=surroundings, capture_output=True, text=True,
                                  timeout=LIMIT)  # fmt: skip
        except subprocess.TimeoutExpired:
            return f">{LIMIT}"
    return done.stdout.strip() if done.returncode == 0 else "none"


def main(words: list[str]) -> None:
    """Print a table."""
    if words[:1] == ["--one"]:
        print(f"{first_call(words[1], words[2], int(words[3])):.2f}")
        return
    peer = sys.executable
    if words[:1] == ["--peer"]:
        peer, words = words[1], words[2:]
    print("| program | steps | graphad (s) | JAX (s) |\n|---|---|---|---|")
    for name in PROGRAMS:
        for steps in map(int, words or ("20", "200")):
            ours = in_process(sys.executable, "graphad", name, steps)
            theirs = in_process(peer, "jax", name, steps)
            print(f"| {name} | {steps} | {ours} | {theirs} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
