"""The cache on disk: a second process compiles nothing; damage and races are misses."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from arrays import at_once

import graphad as ga
from graphad.compile import build

SCRIPT = """
import numpy as np
import graphad as ga
from graphad.compile.build import COUNTERS

def f(x, w):
    return np.tanh(x @ w).sum() + np.exp(x).mean()

x, w = np.linspace(0, 1, 600).reshape(30, 20), np.linspace(-1, 1, 400).reshape(20, 20)
value, gradient = ga.value_and_grad(f, wrt=1)(x, w)
print(COUNTERS.compiled, COUNTERS.loaded, repr(float(value)), repr(float(gradient.sum())))
"""


def run(folder, script=SCRIPT, **environment):
    env = {**os.environ, "GRAPHAD_CACHE_DIR": str(folder), **environment}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_second_process_compiles_nothing(tmp_path):
    first, second = run(tmp_path / "c"), run(tmp_path / "c")
    assert int(first[0]) > 3 and int(first[1]) == 0
    assert int(second[0]) == 0 and int(second[1]) == int(first[0])
    assert first[2:] == second[2:]


def test_damaged_files_are_misses(tmp_path):
    folder = tmp_path / "c"
    first = run(folder)
    for k, file in enumerate(sorted(folder.rglob("*"))):
        if file.is_file() and file.suffix == ".o":
            data = file.read_bytes()
            file.write_bytes([data[: len(data) // 2], b"", data[:-1] + b"\\0", b"junk" * 50][k % 4])
    again = run(folder)
    assert again[2:] == first[2:] and int(again[0]) > 0
    assert int(run(folder)[0]) == 0


def test_a_killed_writer_leaves_no_trace(tmp_path):
    folder = tmp_path / "c"
    first = run(folder)
    for file in folder.glob("*.o"):
        (folder / f"{file.name}.half.tmp").write_bytes(file.read_bytes()[:100])
    assert int(run(folder)[0]) == 0
    assert run(folder)[2:] == first[2:]


def test_two_processes_at_once(tmp_path):
    env = {**os.environ, "GRAPHAD_CACHE_DIR": str(tmp_path / "c")}
    both = [
        subprocess.Popen([sys.executable, "-c", SCRIPT], env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    out = [p.communicate()[0].split() for p in both]
    assert all(p.returncode == 0 for p in both)
    assert out[0][2:] == out[1][2:]


def test_a_read_only_or_absent_home(tmp_path):
    want = run(tmp_path / "c")[2:]
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert run(blocked / "deeper")[2:] == want
    assert run("/proc/nowhere")[2:] == want


def test_two_threads_compile_once():
    plain = ga.function(lambda x: x + 1.0)
    for _ in range(2):  # what every program needs is there, and the gate
        plain(np.ones(3))
    constant = float(np.random.default_rng().uniform())
    f = ga.function(lambda x: np.sin(x) * constant + np.cos(x * constant))
    x = np.linspace(0, 1, 1000)
    before = build.COUNTERS.compiled
    results = [None] * 4

    def work(k):
        results[k] = f(x)

    assert not at_once(work, range(4))
    assert build.COUNTERS.compiled == before + 1
    for r in results:
        np.testing.assert_array_equal(r, results[0])


def test_kernels_are_shared_between_sizes_and_functions():
    def f(x):
        return np.sin(x) * 0.12345 + x

    ga.function(f)(np.ones(1000))
    before = build.COUNTERS.compiled, build.COUNTERS.loaded
    ga.function(f)(np.ones(2000))
    ga.function(lambda y: np.sin(y) * 0.12345 + y)(np.ones((30, 40)))
    assert (build.COUNTERS.compiled, build.COUNTERS.loaded) == before


def test_the_key_covers_constants_and_dtypes():
    x = np.ones(500)
    for c in (1.5, 2.5, -0.0, 0.0):
        np.testing.assert_array_equal(ga.function(lambda x: np.tanh(x) * c)(x), np.tanh(x) * c)
    got = ga.function(lambda x: np.tanh(x) * 1.5)(x.astype("f4"))
    np.testing.assert_allclose(got, (np.tanh(x) * 1.5).astype("f4"), rtol=1e-6)


@pytest.mark.parametrize("arguments", [["cache"], ["doctor"], ["cache", "--clear"]])
def test_command_line(arguments, tmp_path):
    env = {**os.environ, "GRAPHAD_CACHE_DIR": str(tmp_path / "c")}
    run(tmp_path / "c")
    done = subprocess.run(
        [sys.executable, "-m", "graphad", *arguments], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "c") in done.stdout
    if "--clear" in arguments:
        assert not list(pathlib.Path(tmp_path / "c").glob("*.o"))


def test_callers_with_numbas_own_cache_are_never_stale(tmp_path):
    """Numba refuses to cache code that holds our addresses, so a changed constant is seen."""
    module = tmp_path / "caller_module.py"
    constant = tmp_path / "constant.txt"
    module.write_text(
        "import numba, numpy as np, graphad as ga, pathlib\n"
        f"C = float(pathlib.Path({str(constant)!r}).read_text())\n"
        "f = ga.function(lambda x: x * C)\n"
        "@numba.njit(cache=True)\n"
        "def caller(x):\n"
        "    return f(x)\n"
        "print(caller(np.ones(2)).tolist())\n"
    )
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import caller_module"
    for value in ("2.0", "3.0"):
        constant.write_text(value)
        assert run(tmp_path / "c", script) == [f"[{value},", f"{value}]"]
