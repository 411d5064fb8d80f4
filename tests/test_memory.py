"""The memory plan: temporaries alive at the same time never overlap, and little is wasted."""

import itertools

import numpy as np
import pytest

import graphad as ga
from graphad.lower import memory


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
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_memory_shared_is_not_more_than_memory_not_shared(name):
    f = PROGRAMS[name]
    x = np.linspace(-1.0, 1.0, 64).reshape(8, 8) + 3 * np.eye(8)
    plan = (f if isinstance(f, ga.Function) else ga.function(f)).lower(x).memory
    assert 0 <= plan.arena <= plan.unshared
