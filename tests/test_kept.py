"""Images on disk: a second process traces, and lowers nothing."""

import os
import subprocess
import sys

SCRIPT = """
import sys
import numpy as np
import graphad as ga
from graphad.run import kept
kept.FEWEST = 0

RNG = np.random.default_rng(0)
A, B, X = RNG.normal(size=(6, 6)) + 6 * np.eye(6), RNG.normal(size=6), RNG.normal(size=(300, 40))
W = RNG.normal(size=(40, 40))
LONG = RNG.normal(size=400_000)
CAPTURED = np.arange(6.0)
KEY = ga.random.key(3)
PROGRAMS = {
    "elements": (lambda x: np.tanh(x) * np.exp(-x), X),
    "gradient": (ga.grad(lambda a: np.sum(np.linalg.solve(a, B) ** 2) + np.linalg.slogdet(a)[1]), A),
    "large": (lambda x: np.linalg.cholesky(x.T @ x + np.eye(40)), X),
    "scan": (lambda x: ga.scan(lambda c, v: (c * 0.5 + v @ W, c.sum()), np.zeros(40), x), X),
    "while": (lambda x: ga.while_loop(lambda c: c < 50.0, lambda c: c * 1.5 + x, 1.0), 0.25),
    "branch": (lambda x: ga.cond(x > 0, lambda x: x * 2.0, lambda x: x - 1.0, x), 0.5),
    "threads": (lambda x: (np.sin(x) * x).sum(), LONG),
    "strips": (ga.grad(lambda w: np.sum(np.tanh(X @ w))), W),
    "special": (lambda x: ga.special.zeta(x, 2.0) + ga.special.gammaln(x), np.abs(B) + 1.5),
    "captured": (lambda x: x * CAPTURED + CAPTURED[::-1], B),
    "view": (lambda x: x * CAPTURED[1:4].copy() + CAPTURED[::2], B[:3]),
    "draw": (lambda k: ga.random.categorical(k, np.zeros(5), 20), KEY),
}

def flat(tree):
    return [np.asarray(x) for x in (tree if isinstance(tree, tuple) else (tree,)) for x in
            (x if isinstance(x, tuple) else (x,))]

for name, (f, x) in PROGRAMS.items():
    f = ga.function(f)
    for _ in range(3):
        values = flat(f(x))
    lowered = f.lower(x)
    print(name, "program" in vars(lowered), *(v.tobytes().hex()[:80] for v in values))
"""
ERRORS = """
f = ga.function(lambda x, i: (x[i] * CAPTURED[0], np.linalg.cholesky(x.reshape(2, 3) @ x.reshape(3, 2) * 0.0)))
for _ in range(3):
    try:
        f(B, np.array([0, 99]))
    except IndexError as error:
        print(str(error).replace("\\n", " ").split("graphad")[0][:150])
g = ga.function(PROGRAMS["captured"][0])
g(B)
CAPTURED[:] = 2.0
print(np.array_equal(g(B), B * 2.0 + 2.0), np.array_equal(g(B, out=np.empty(6)), B * 2.0 + 2.0))
CAPTURED.resize(0, refcheck=False)
try:
    g(B)
except ValueError as error:
    print("resized" in str(error))
"""


def run(folder, script, **environment):
    env = {**os.environ, "GRAPHAD_CACHE_DIR": str(folder), **environment}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [line.split(" ") for line in done.stdout.splitlines()]


def test_a_second_process_lowers_nothing(tmp_path):
    first, second = (run(tmp_path / "c", SCRIPT + ERRORS) for _ in range(2))
    count = SCRIPT.count('    "')
    assert [line[1] for line in first[:count]] == ["True"] * count
    assert [line[1] for line in second[:count]] == ["False"] * count
    for one, other in zip(first[:count], second[:count], strict=True):
        assert one[0] == other[0] and one[2:] == other[2:]
    assert first[count:] == second[count:]
    assert first[-2:] == [["True", "True"], ["True"]]


def test_no_address_is_left_in_a_file(tmp_path):
    """Two processes have their memory in other places, and write the same."""
    for name in ("a", "b"):
        run(tmp_path / name, SCRIPT)
    files = [{f.name: f.read_bytes() for f in (tmp_path / n).iterdir()} for n in ("a", "b")]
    assert files[0].keys() == files[1].keys()
    assert all(files[0][name] == files[1][name] for name in files[0])


def test_other_options_are_other_images(tmp_path):
    first = run(tmp_path / "c", SCRIPT)
    other = run(tmp_path / "c", SCRIPT, GRAPHAD_NUM_THREADS="3")
    assert {line[1] for line in first} == {line[1] for line in other} == {"True"}
    fast = SCRIPT.replace("ga.function(f)", "ga.function(f, fastmath=True)")
    assert {line[1] for line in run(tmp_path / "c", fast)} == {"True"}
    assert {line[1] for line in run(tmp_path / "c", SCRIPT)} == {"False"}
