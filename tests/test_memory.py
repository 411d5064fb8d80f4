"""The memory plan: temporaries alive at the same time never overlap, and little is wasted."""

import itertools

import numpy as np
import pytest
import random_programs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import graphad as ga
from graphad.lower import memory
from graphad.run import layout
from graphad.run.device.programs import Schedule
from graphad.run.places import later
from graphad.spec import Dim


def lives(seed, count, steps):
    rng = np.random.default_rng(seed)
    first = rng.integers(0, steps, count)
    last = np.minimum(first + rng.geometric(0.2, count), steps)
    sizes = memory.ALIGNMENT * rng.integers(0, 50, count)
    life = {k: (int(a), int(b)) for k, (a, b) in enumerate(zip(first, last, strict=True))}
    return life, {k: int(s) for k, s in enumerate(sizes)}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("pack", [memory.pack, memory._pack_in_time])
def test_no_overlap(seed, pack):
    life, sizes = lives(seed, 150, 60)
    offsets, total = pack(life, sizes)
    for step in range(61):
        alive = [b for b, (first, last) in life.items() if first <= step <= last and sizes[b]]
        places = sorted((offsets[b], offsets[b] + sizes[b]) for b in alive)
        for (_, end), (start, _) in itertools.pairwise(places):
            assert end <= start
    needed = max(
        sum(sizes[b] for b, (first, last) in life.items() if first <= s <= last) for s in range(61)
    )
    assert needed <= total <= 1.4 * needed


def test_many_buffers_are_planned_in_time_linear_in_their_number():
    life, sizes = lives(0, 30_000, 20_000)
    offsets, total = memory.pack(life, sizes)
    assert len(offsets) == 30_000 and total > 0


def test_memory_is_known_before_running():
    f = ga.grad(lambda x, w: np.sum(np.tanh(x @ w)))
    plan = f.lower(ga.spec("100 50"), ga.spec("50 40")).memory
    assert plan.outputs == 100 * 50 * 8 and plan.inputs == (100 * 50 + 50 * 40) * 8
    assert plan.arena >= 100 * 40 * 8 and max(plan.live) <= plan.arena <= plan.unshared
    symbolic = f.lower(ga.spec("n 50"), ga.spec("50 40")).memory
    assert "n" in str(symbolic.peak)


def walked(x):
    return ga.scan(lambda c, r: (np.tanh(c @ x) + r, c.sum()), x[0], x)


ROWS, MANY = np.ones((4096, 8)), np.ones(200_000)
FLOW = ga.flows.MAF(8, transforms=2, hidden=(16,), key=ga.random.key(0))
PROGRAMS = {
    "fori": ga.grad(
        lambda x: np.sum(ga.fori_loop(0, 50, lambda i, u: u + 0.2 * np.roll(u, 1, 0), x) ** 2)
    ),
    "scan": ga.grad(lambda x: walked(x)[1].sum()),
    "nested": ga.grad(lambda x: ga.scan(lambda c, r: (walked(x * c)[0].sum(), c), 0.5, x)[0]),
    "while": lambda x: ga.while_loop(lambda c: c.sum() < 9, lambda c: c + x @ x.T, x),
    "cond": lambda x: ga.cond(x.sum() > 0, lambda: np.linalg.solve(x, x), lambda: x @ x),
    "vmap": ga.vmap(lambda r: np.sort(r)[::-1] + np.sum(np.exp(r))),
    "products": ga.hessian(lambda x: np.sum(np.tanh(x @ x) @ x)),
    "draws": lambda x: x @ ga.random.normal(ga.random.key(0), (8, 8)) + x.sum(),
    "vmap of scans": ga.vmap(ga.grad(lambda r: np.sum(walked(np.outer(r, r))[0]))),
    "loops one after another": ga.grad(lambda x: walked(x)[1] @ walked(np.sin(x))[1]),
    "branches in a loop": ga.grad(
        lambda x: ga.fori_loop(
            0, 9, lambda i, c: ga.cond(c[0, 0] > i, lambda: np.tanh(c @ x), lambda: c.T), x
        ).sum()
    ),
    "strips": ga.grad(lambda x: np.sum(np.tanh(np.tanh(ROWS @ x) @ x) ** 2)),
    "sums in parts": lambda x: (np.sum(np.sin(x[0, 0] * MANY)), np.sum(np.cos(x[1, 1] * MANY))),
    "flow": ga.grad(lambda x: FLOW.log_prob(x).sum()),
}


def planned(f, *args):
    """(what a call is given, the plan) of a function that is compiled."""
    lowered = ga.function(f).lower(*args)
    return int(lowered.image().data[layout.ARENA_BYTES]), lowered.memory


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_plan_is_what_a_call_takes_and_no_more_than_without_sharing(name):
    x = np.linspace(-1.0, 1.0, 64).reshape(8, 8) + 3 * np.eye(8)
    taken, plan = planned(PROGRAMS[name], x)
    assert taken == plan.arena <= plan.unshared
    assert f"{plan.temporaries} temporaries, {plan.unshared:,} bytes if none" in str(plan)


def test_what_bodies_work_in_is_counted():
    """A loop's body that keeps two matrices, beside two places for the carry."""
    f = ga.function(lambda x: ga.fori_loop(0, 3, lambda i, c: np.tanh(c @ x) @ np.sin(c) @ x, x))
    plan = f.lower(np.eye(64)).memory
    assert plan.arena >= 3 * 64 * 64 * 8 and plan.temporaries >= 4
    assert plan.unshared == plan.temporaries * 64 * 64 * 8


@given(random_programs.programs(), st.sampled_from(["value", "gradient", "vmap"]))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_programs(program, kind):
    f, arrays = program
    if kind == "gradient":
        f = ga.grad(lambda *xs, run=f: sum(np.sum(y) for y in run(*xs)))
    if kind == "vmap":
        f, arrays = ga.vmap(f), [np.stack([a, a + 0.1, a - 0.1]) for a in arrays]
    taken, plan = planned(f, *arrays)
    assert taken == plan.arena <= plan.unshared


def test_programs_on_a_device():
    f = ga.function(lambda x: np.exp(np.sum(x * x, 0)) @ np.sort(x.sum(0)), device="cuda")
    lowered = f.lower(np.ones((300, 200)))
    schedule = Schedule(lowered.program, lowered.kernels)
    assert schedule.bytes == lowered.memory.arena <= lowered.memory.unshared


def test_symbolic_dims_share_what_numbers_share():
    """Loops one after another work in the same memory."""

    def twice(x):
        def step(c, row):
            return np.tanh(c * np.mean(row)) + row, np.sum(row)

        return ga.scan(step, x[0], x)[1] @ ga.scan(step, x[0], np.sin(x))[1]

    f, x = ga.grad(twice), np.ones((40, 30))
    known = f.lower(x).memory
    plan = f.lower(ga.spec("n m")).memory
    sizes = {"n": 40, "m": 30}
    assert known.arena <= plan.arena.at(sizes) <= plan.unshared.at(sizes)
    assert plan.arena.at(sizes) <= 1.1 * known.arena
    compiled = ga.function(f, signature=(ga.spec("n m"),))
    np.testing.assert_allclose(compiled(x), f(x), rtol=1e-12)


@given(*[st.dictionaries(st.sampled_from(["n", "m", "1"]), st.integers(-3, 9)) for _ in "ab"])
def test_a_size_for_either(a, b):
    one, other = (
        sum((v if k == "1" else v * Dim.symbol(k) for k, v in d.items()), 0) for d in (a, b)
    )
    for n, m in itertools.product(range(4), repeat=2):
        numbers = [d.get("n", 0) * n + d.get("m", 0) * m + d.get("1", 0) for d in (a, b)]
        found = later(one, other)
        found = found.at({"n": n, "m": m}) if isinstance(found, Dim) else found
        if min(numbers) >= 0:
            assert max(numbers) <= found <= sum(numbers)
