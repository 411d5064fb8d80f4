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
    assert plan.arena >= 100 * 40 * 8 and max(plan.live) <= plan.arena <= plan.unshared + 64 * 10
    symbolic = f.lower(ga.spec("n 50"), ga.spec("50 40")).memory
    assert "n" in str(symbolic.peak)
