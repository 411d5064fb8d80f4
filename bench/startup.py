"""Cold compiles, warm starts and the import, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from bench.programs import LOOPED, PROGRAMS

GRAPHAD = """
import time; start = time.perf_counter()
import numpy, numpy as np_
import graphad as ga
loaded = time.perf_counter()
from bench.programs import LOOPED, PROGRAMS
f, args = (PROGRAMS | LOOPED)["{name}"](np_)
begin = time.perf_counter()
ga.value_and_grad(f)(*args)
end = time.perf_counter()
print(end - begin, end - begin + loaded - start)
"""

JAX = """
import time; start = time.perf_counter()
import os, numpy, jax, jax.numpy as np_
jax.config.update("jax_enable_x64", True)
if os.environ.get("JAX_CACHE"):
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_CACHE"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
loaded = time.perf_counter()
from bench.programs import LOOPED, PROGRAMS
f, args = (PROGRAMS | LOOPED)["{name}"](np_)
args = jax.tree.map(np_.asarray, args)
jax.block_until_ready(args)
begin = time.perf_counter()
jax.block_until_ready(jax.jit(jax.value_and_grad(f))(*args))
end = time.perf_counter()
print(end - begin, end - begin + loaded - start)
"""


def timed(template: str, name: str, environment: dict) -> tuple[float, float]:
    """(first call, imports and first call) in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", template.format(name=name)],
        env={**os.environ, **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    first, whole = done.stdout.split()
    return float(first), float(whole)


def rows(repeats: int = 3) -> list[tuple[str, list[float], list[float]]]:
    """(program, cold compiles of graphad and JAX, warm starts of both)."""
    found = []
    for name in PROGRAMS | LOOPED:
        cold: list[list[float]] = [[], []]
        warm: list[list[float]] = [[], []]
        for _ in range(repeats):
            with tempfile.TemporaryDirectory() as folder:
                env = {"GRAPHAD_CACHE_DIR": f"{folder}/g", "JAX_CACHE": f"{folder}/j"}
                for k, template in enumerate((GRAPHAD, JAX)):
                    cold[k].append(timed(template, name, env)[0])
                    warm[k].append(timed(template, name, env)[1])
        found.append((name, [min(c) for c in cold], [min(w) for w in warm]))
    return found


def import_seconds(repeats: int = 5) -> float:
    """`import graphad` in a new process, NumPy included."""
    code = "import time; t = time.perf_counter(); import graphad; print(time.perf_counter() - t)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
            for _ in range(repeats)]  # fmt: skip
    return min(float(r.stdout) for r in runs)
