"""Cold compiles and warm starts, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

PROGRAMS = {
    "chain and gradient, 10⁶": """
def f(x): return (np_.tanh(x) * np_.exp(-x * x) + np_.log1p(np_.exp(x))).sum()
args = (numpy.linspace(-2, 2, 1_000_000),)
""",
    "MLP value and gradient": """
def f(p, x):
    h = x
    for w in p: h = np_.tanh(h @ w)
    return (h ** 2).mean()
rng = numpy.random.default_rng(0)
shapes = ((64, 256), (256, 256), (256, 10))
args = ([rng.normal(size=s) / 8 for s in shapes], rng.normal(size=(512, 64)))
""",
    "Rosenbrock, 10 dims": """
def f(x): return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()
args = (numpy.linspace(-1, 1, 10),)
""",
    "unrolled recurrence, 20 steps": """
def f(w, x):
    h = x
    for _ in range(20): h = np_.tanh(w @ h + x)
    return h @ h
args = (numpy.eye(30) * 0.5, numpy.linspace(-1, 1, 30))
""",
}

GRAPHAD = """
import time; start = time.perf_counter()
import numpy, numpy as np_
import graphad as ga
loaded = time.perf_counter()
{program}
ga.value_and_grad(f)(*args)
end = time.perf_counter()
print(end - loaded, end - start)
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
{program}
args = jax.tree.map(np_.asarray, args)
jax.block_until_ready(jax.jit(jax.value_and_grad(f))(*args))
end = time.perf_counter()
print(end - loaded, end - start)
"""


def timed(template: str, program: str, environment: dict) -> tuple[float, float]:
    """(first call after the imports, from start to first result) in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", template.format(program=program)],
        env={**os.environ, **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    first, whole = done.stdout.split()
    return float(first), float(whole)


def rows(repeats: int = 2) -> list[tuple[str, float, float]]:
    """(name, graphad's seconds, JAX's seconds) for cold compiles and warm starts."""
    found = []
    for name, program in PROGRAMS.items():
        cold, warm = [], []
        for _ in range(repeats):
            with tempfile.TemporaryDirectory() as folder:
                env = {"GRAPHAD_CACHE_DIR": f"{folder}/g", "JAX_CACHE": f"{folder}/j"}
                first = timed(GRAPHAD, program, env)[0], timed(JAX, program, env)[0]
                again = timed(GRAPHAD, program, env)[1], timed(JAX, program, env)[1]
                cold.append(first)
                warm.append(again)
        for label, pairs in (("cold compile", cold), ("warm start", warm)):
            found.append((f"{label}: {name}", min(p[0] for p in pairs), min(p[1] for p in pairs)))
    return found
