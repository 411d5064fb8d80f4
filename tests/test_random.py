"""Random numbers: known answers, a second generator, moments and tails, and bitwise sameness."""

import math
import os
import pathlib
import subprocess
import sys

import mpmath
import numpy as np
import pytest
from scipy import stats

import graphad as ga
from graphad.errors import DTypeError, ParameterError, ShapeError, WeightError
from graphad.op import find
from graphad.primitives import few_of_many, tail_quantile

R = ga.random
KEY = R.key(20261124)
N = 200_000
ALARM = 1e-6  # the chance that a right generator fails one of the tests below


def philox(counter, key, bits, multipliers, steps, rounds=10):
    """Philox with four words of any width, in Python's integers: shares nothing with ours."""
    mask = (1 << bits) - 1
    c, k = list(counter), list(key)
    for _ in range(rounds):
        p, q = multipliers[0] * c[0], multipliers[1] * c[2]
        c = [(q >> bits) ^ c[1] ^ k[0], q & mask, (p >> bits) ^ c[3] ^ k[1], p & mask]
        k = [(a + s) & mask for a, s in zip(k, steps, strict=True)]
    return c


def philox32(counter, key):
    return philox(counter, key, 32, (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85))


# Random123's kat_vectors, philox4x32 with 10 rounds: counter, key, words.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000",
     "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
     "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]  # fmt: skip


def words_of(text):
    return [int(w, 16) for w in text.split()]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers(counter, key, expected):
    c, k, expected = words_of(counter), words_of(key), words_of(expected)
    assert philox32(c, k) == expected
    block = c[0] | c[1] << 32
    given = [k[0] | k[1] << 32, c[2] | c[3] << 32]
    index = [(block * 4 + i) % 2**64 for i in range(4)]
    if block < 2**62:  # the number of an element has 64 bits
        args = [np.array([v] * 4, np.uint64) for v in given]
        got = find("random_u4").reference([*args, np.array(index, np.uint64)], {}, None)
        assert got.tolist() == expected
    if c[0] == c[1] == 0:
        assert R.bits(np.array(given, np.uint64), 4, "uint32").tolist() == expected


def test_the_oracle_is_numpys_philox_in_its_width():
    theirs = np.random.Philox(counter=5, key=7).random_raw(4).tolist()
    steps = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
    multipliers = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
    assert philox([6, 0, 0, 0], [7, 0], 64, multipliers, steps) == theirs


@pytest.mark.parametrize("n", [1, 3, 17, 64, 1000])
def test_words_are_blocks_in_order(n):
    key, stream = 0x0123456789ABCDEF, 0xFEDCBA9876543210
    given = np.array([key, stream], np.uint64)
    halves = [key & 0xFFFFFFFF, key >> 32], [stream & 0xFFFFFFFF, stream >> 32]
    blocks = [philox32([b, 0, *halves[1]], halves[0]) for b in range(n // 2 + 1)]
    flat = [w for b in blocks for w in b]
    assert R.bits(given, n, "uint32").tolist() == flat[:n]
    pairs = [a | b << 32 for a, b in zip(flat[::2], flat[1::2], strict=True)]
    assert R.bits(given, n).tolist() == pairs[:n]


@pytest.mark.parametrize("shape", [(7, 5), (33, 3), (2, 3, 11), (5, 64)])
@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
def test_any_shape_has_the_same_words(shape, dtype):
    """Rows that start within a block too, alone and fused with other arithmetic."""
    flat = R.bits(KEY, math.prod(shape), dtype)
    np.testing.assert_array_equal(R.bits(KEY, shape, dtype), flat.reshape(shape))
    f = ga.function(
        lambda key, x: (R.bits(key, shape, dtype) >> 1) ^ x[:, *[None] * (len(shape) - 1)]
    )
    x = np.arange(shape[0]).astype(dtype)
    want = (flat.reshape(shape) >> 1) ^ x.reshape(-1, *[1] * (len(shape) - 1))
    np.testing.assert_array_equal(f(KEY, x), want)


DRAWS = {
    "uniform": (R.uniform, stats.uniform(), lambda x: (x >= 0) & (x < 1)),
    "normal": (R.normal, stats.norm(), lambda x: np.isfinite(x)),
    "exponential": (R.exponential, stats.expon(), lambda x: x > 0),
    "gumbel": (R.gumbel, stats.gumbel_r(), lambda x: np.isfinite(x)),
}


def distance_allowed(n, chance=ALARM):
    """DKWM: P(sup |F_n - F| > d) <= 2 exp(-2 n d²)  (P. Massart, Ann. Probab. 18, 1990)."""
    return math.sqrt(math.log(2 / chance) / (2 * n))


def distance(x, cdf):
    x = np.sort(np.asarray(x, np.float64))
    at = cdf(x)
    steps = np.arange(len(x) + 1) / len(x)
    return max((at - steps[:-1]).max(), (steps[1:] - at).max())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", DRAWS)
def test_distributions(name, dtype):
    draw, exact, inside = DRAWS[name]
    x = draw(KEY, (N,), dtype)
    assert x.dtype == dtype and inside(x).all()
    spacing = 2.0**-24 if dtype == "float32" else 0.0
    assert distance(x, exact.cdf) < distance_allowed(N) + spacing
    other = draw(R.fold_in(KEY, 1), (N,), dtype)  # and nothing in common with the next key's
    assert abs(np.corrcoef(x, other)[0, 1]) < 5.0 / math.sqrt(N)
    assert abs(np.corrcoef(x[1:], x[:-1])[0, 1]) < 5.0 / math.sqrt(N)


def test_a_broken_generator_is_found():
    """The test above fails for a scale off by 5 %, and for a normal without its tails."""
    x = R.normal(KEY, (N,))
    assert distance(x * 1.05, stats.norm.cdf) > distance_allowed(N)
    assert distance(np.clip(x, -2.0, 2.0), stats.norm.cdf) > distance_allowed(N)
    u = R.uniform(KEY, (N,))
    assert distance(u**1.05, stats.uniform.cdf) > distance_allowed(N)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_tails_have_all_their_digits(dtype):
    """Extreme words give the quantiles that they stand for; no word gives 0 or infinity."""
    bits = np.dtype(dtype).itemsize * 8
    words = np.array([0, 1, 2, 3, 2**bits - 1, 2**bits - 2], f"uint{bits}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("graphad.random.draws.random_bits",
                      lambda key, shape, d, first=0: key.astype(d))  # fmt: skip
        from graphad.random import draws

        normal = ga.function(lambda w: draws._normal._f(w, w.shape, np.dtype(dtype)))(words)
        expo = ga.function(lambda w: draws._exponential._f(w, w.shape, np.dtype(dtype)))(words)
    tail = ((words >> 1).astype(float) + 0.5) * 2.0**-bits
    z = stats.norm.ppf(tail)
    np.testing.assert_allclose(normal, np.where(words & 1, -z, z), rtol=4e-7, atol=1e-7)
    e = np.where(words & 1, -np.log(tail), -np.log1p(-tail))
    np.testing.assert_allclose(expo, e, rtol=4e-7)
    assert np.isfinite(normal).all() and (expo > 0).all() and np.isfinite(expo).all()


@pytest.mark.parametrize("dtype, allowed", [("float64", 2e-15), ("float32", 4e-7)])
def test_the_quantile_of_normals(dtype, allowed):
    """Over all tails that a word can stand for, against mpmath's root of erfc."""
    bits = np.dtype(dtype).itemsize * 8
    share = np.random.default_rng(3).uniform(0.0, 1.0, 60)
    x = np.concatenate([0.5 * 2.0 ** (-bits * share), 0.5 - 0.1 * share**4]).astype(dtype)

    def exact(t):
        def beyond(z):
            return mpmath.log(mpmath.erfc(z / mpmath.sqrt(2)) / 2 / mpmath.mpf(t))

        return -mpmath.findroot(beyond, (0, 10), solver="anderson", tol=1e-60)

    with mpmath.workdps(40):
        want = [exact(t) for t in x.tolist()]
    got = ga.function(tail_quantile)(x)
    error = [abs(float(w - mpmath.mpf(float(g)))) for g, w in zip(got, want, strict=True)]
    assert max(e / max(1.0, abs(float(w))) for e, w in zip(error, want, strict=True)) < allowed


def test_integers():
    x = R.integers(KEY, -3, 4, (N,))
    counts = np.bincount(x + 3, minlength=7)
    assert x.dtype == np.int64 and len(counts) == 7
    assert stats.chisquare(counts).pvalue > ALARM
    assert R.integers(KEY, 5, shape=(100,), dtype="int8").dtype == np.int8
    wide = R.integers(KEY, -(2**63), 2**63 - 1, (1000,))
    assert wide.min() < -(2**62) and wide.max() > 2**62
    words = R.bits(KEY, (50,))
    want = [(int(w) * 1000003 >> 64) + 17 for w in words]
    assert R.integers(KEY, 17, 1000020, (50,)).tolist() == want
    got = R.integers(KEY, np.array([0, 10]), np.array([1, 11]))
    assert got.tolist() == [0, 10]


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_integers_over_all_of_a_dtype(dtype):
    """One word is one integer: the range is full, so its upper half is the word itself."""
    bits = 1 if dtype == "?" else 8 * int(dtype[1])
    least = -(1 << (bits - 1)) if dtype[0] == "i" else 0
    got = R.integers(KEY, least, least + (1 << bits), (5000,), dtype)
    want = [(w >> (64 - bits)) + least for w in R.bits(KEY, (5000,)).tolist()]
    assert got.dtype == np.dtype(dtype) and got.tolist() == want
    closed = R.integers(KEY, least, least + (1 << bits) - 1, (5000,), dtype, endpoint=True)
    np.testing.assert_array_equal(closed, got)


EDGES = [
    (dict(low=0, high=1000, dtype="u1"), (3,)), (dict(low=-1, high=5, dtype="u1"), (3,)),
    (dict(low=0, high=257, dtype="u1"), (3,)), (dict(low=0, high=2**64), (3,)),
    (dict(low=-(2**63) - 1, high=0), (3,)), (dict(low=0, high=3, dtype="?"), (3,)),
    (dict(low=5, high=5), None), (dict(low=0), None), (dict(low=5, high=4, endpoint=True), None),
    (dict(low=0, high=0), (0,)), (dict(low=0, high=[]), (0,)), (dict(low=[0, 5], high=[3, 4]), (2,)),
    (dict(low=[[0], [300]], high=[256, 301], dtype="u1"), (2, 2)), (dict(low=True), None),
    (dict(low=0, high=5, dtype="f8"), None), (dict(low=[0, 3], high=[9, 5], dtype="i2"), (4, 2)),
    (dict(low=np.array([2**63], "u8"), high=np.array([2**64 - 1], "u8"), dtype="u8"), None),
    (dict(low=np.uint64(2**63 + 5), dtype="u8"), None), (dict(low=[2**64], dtype="u8"), (1,)),
    (dict(low=np.array([-(2**63)]), high=np.array([2**63], "u8")), None),
]  # fmt: skip


@pytest.mark.parametrize(("given", "shape"), EDGES)
def test_integers_have_numpys_edges(given, shape):
    """Shape and dtype, or kind of exception; and numbers in the range."""

    def outcome(draw):
        try:
            x = draw()
        except (ValueError, TypeError) as error:
            return next(kind for kind in (ValueError, TypeError) if isinstance(error, kind))
        high = given.get("high")
        low, high = (0, given["low"]) if high is None else (given["low"], high)
        assert np.all(x >= np.asarray(low)) and np.all(x < np.asarray(high))
        return x.shape, x.dtype

    rng = np.random.default_rng(0)
    want = outcome(lambda: rng.integers(**given, size=shape))
    assert outcome(lambda: R.integers(KEY, **given, shape=shape)) == want


def test_integers_between_traced_bounds():
    f = ga.function(lambda low, high: R.integers(KEY, low, high, (1000,)))
    got = f(np.int64(-3), np.int64(2**62))
    np.testing.assert_array_equal(got, R.integers(KEY, -3, 2**62, (1000,)))
    closed = ga.function(lambda low, high: R.integers(KEY, low, high, (9,), endpoint=True))
    got = closed(np.int64(-(2**63)), np.int64(2**63 - 1))
    np.testing.assert_array_equal(got, R.integers(KEY, -(2**63), 2**63, (9,)))


RANGES = [(1000.0, 1000.01), (-1.0, 0.0), (-1e-310, 0.0), (0.0, 5e-324), (1.0, 1.0 + 2.0**-52),
          (-3.0, -3.0), (-1000.01, -1000.0), (1e307, 1.1e307), (2.0**60, 2.0**60 + 512)]  # fmt: skip


@pytest.mark.parametrize("ends", RANGES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_uniforms_stay_below_their_upper_end(ends, dtype):
    with np.errstate(over="ignore"):
        low, high = (np.dtype(dtype).type(e) for e in ends)
    if np.isinf(high):
        with pytest.raises(OverflowError, match="valid bounds"):
            R.uniform(KEY, (3,), dtype, low=ends[0], high=ends[1])
        return
    x = R.uniform(KEY, (200_000,), dtype, low=ends[0], high=ends[1])
    assert x.dtype == dtype and (x >= low).all()
    assert (x < high).all() if low < high else (x == low).all()


def test_the_gradient_of_uniforms_that_round_to_their_upper_end():
    u = R.uniform(KEY, (1000,))
    f = lambda low, high: R.uniform(KEY, (1000,), low=low, high=high).sum()  # noqa: E731
    got = ga.grad(f, wrt=(0, 1))(1.0, 1.0 + 2.0**-52)
    np.testing.assert_allclose(got, (1000.0 - u.sum(), u.sum()), rtol=1e-12)


def test_a_few_of_many():
    few = ga.random.choice(KEY, 10**15, (500,), replace=False)
    assert few.dtype == np.int64 and len(set(few.tolist())) == 500
    assert few.min() >= 0 and few.max() < 10**15
    assert abs(few.mean() / 10**15 - 0.5) < 0.07
    np.testing.assert_array_equal(few[:20], ga.random.choice(KEY, 10**15, (20,), replace=False))
    words = R.bits(KEY, (20,)).tolist()
    assert few[:20].tolist() == [w * 10**15 >> 64 for w in words]
    keys = R.split(KEY, N // 10)
    pairs = ga.vmap(lambda k: few_of_many(k, 4, 2))(keys)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    counts = np.bincount(pairs[:, 0] * 4 + pairs[:, 1], minlength=16)
    assert stats.chisquare(counts[counts > 0]).pvalue > ALARM and (counts > 0).sum() == 12
    got = ga.vmap(lambda k: R.choice(k, 5000, (7,), replace=False))(keys[:5])
    for k in range(5):
        np.testing.assert_array_equal(got[k], R.choice(keys[k], 5000, (7,), replace=False))
    all_of = few_of_many(KEY, 65, 65)
    np.testing.assert_array_equal(np.sort(all_of), np.arange(65))


def test_lists_and_nothing_to_choose():
    assert R.choice(KEY, [3.0, 5.0], p=[0.0, 1.0]) == 5.0
    assert isinstance(R.choice(KEY, 5), np.int64)
    assert R.choice(KEY, 0, 0).shape == (0,) and R.choice(KEY, [], 0).shape == (0,)
    assert sorted(R.permutation(KEY, [3, 1, 2]).tolist()) == [1, 2, 3]
    assert R.permutation(KEY, -1).shape == (0,)
    with pytest.raises(np.exceptions.AxisError):
        R.permutation(KEY, np.zeros((2, 3)), axis=2)


@pytest.mark.parametrize("bits", [128, 256])
def test_draws_for_many_keys_are_those_of_single_calls(bits):
    """A share of tests/draws_soak.py, each case in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.draws_soak", "--cases", "6", "--seed", str(bits),
         "--bits", str(bits)], capture_output=True, text=True,
        cwd=pathlib.Path(__file__).parent.parent)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_bernoulli():
    assert not R.bernoulli(KEY, 0.0, (1000,)).any() and R.bernoulli(KEY, 1.0, (1000,)).all()
    hits = int(R.bernoulli(KEY, 0.3, (N,)).sum())
    assert stats.binomtest(hits, N, 0.3).pvalue > ALARM
    assert R.bernoulli(KEY, np.array([0.0, 1.0])).tolist() == [False, True]


def test_permutation_and_choice():
    orders = [tuple(R.permutation(k, 3).tolist()) for k in R.split(KEY, 6000)]
    counts = [orders.count(o) for o in sorted(set(orders))]
    assert len(counts) == 6 and stats.chisquare(counts).pvalue > ALARM
    x = np.arange(12.0).reshape(3, 4)
    got = R.permutation(KEY, x, axis=1)
    assert sorted(got[0].tolist()) == [0, 1, 2, 3] and (got[1] - got[0] == 4).all()
    assert len(set(R.choice(KEY, 100, (50,), replace=False).tolist())) == 50
    assert set(R.choice(KEY, np.array([4, 5, 6]), (100,), p=[0.5, 0.0, 0.5]).tolist()) == {4, 6}
    assert R.choice(KEY, x, (2,), axis=1).shape == (3, 2)
    assert np.shape(R.choice(KEY, 5)) == ()


def test_keys():
    assert R.key(-1).tolist() == [2**64 - 1, 0] and R.key(2**64 + 3).tolist() == [3, 0]
    keys = R.split(KEY, 1000)
    assert keys.shape == (1000, 2) and keys.dtype == np.uint64
    folded = np.array([R.fold_in(KEY, i) for i in range(1000)])
    everything = np.concatenate([keys, folded, KEY[None]])
    assert len(np.unique(everything, axis=0)) == len(everything)
    assert not np.isin(keys, R.bits(KEY, 100_000)).any()  # no new key is made of draws
    traced = ga.function(lambda s: R.normal(R.fold_in(R.key(s), s), (3,)))(5)
    np.testing.assert_array_equal(traced, R.normal(R.fold_in(R.key(5), 5), (3,)))


CALLS = {
    "uniform": lambda key: R.uniform(key, (37,)),
    "uniform32": lambda key: R.uniform(key, (5, 7), "float32"),
    "normal": lambda key: R.normal(key, (3, 11), loc=1.0, scale=2.0),
    "exponential": lambda key: R.exponential(key, (8,)),
    "gumbel": lambda key: R.gumbel(key, (8,), "float32"),
    "integers": lambda key: R.integers(key, 3, 90, (9,)),
    "bernoulli": lambda key: R.bernoulli(key, 0.3, (9,)),
    "permutation": lambda key: R.permutation(key, 11),
    "split": lambda key: R.split(key, 3),
    "one": lambda key: R.categorical(key, LOGITS),
    "few": lambda key: R.categorical(key, LOGITS, 5),
    "many": lambda key: R.categorical(key, LOGITS, 501),
    "distinct": lambda key: R.categorical(key, LOGITS, 5, replace=False),
}
LOGITS = np.sin(np.arange(21.0)).reshape(3, 7) * 3


@pytest.mark.parametrize("name", CALLS)
def test_eager_traced_and_mapped_are_the_same(name):
    draw = CALLS[name]
    eager = draw(KEY)
    np.testing.assert_array_equal(ga.function(draw)(KEY), eager)
    keys = R.split(KEY, 4)
    one_by_one = np.stack([draw(k) for k in keys])
    np.testing.assert_array_equal(ga.vmap(draw)(keys), one_by_one)
    np.testing.assert_array_equal(ga.vmap(draw)(keys[2:]), one_by_one[2:])


SAME = """
import numpy as np, graphad as ga, hashlib
R, key = ga.random, ga.random.key(3)
logits = np.sin(np.arange(300000.0)).reshape(3000, 100)
drawn = [R.normal(key, (600_001,)), R.uniform(key, (700_003,), 'float32'), R.categorical(key, logits),
         R.categorical(key, logits[0], 300_001), R.categorical(key, logits, 10, replace=False)]
print(hashlib.sha256(b''.join(x.tobytes() for x in drawn)).hexdigest())
"""


def test_any_number_of_threads():
    found = set()
    for threads in ("1", "2"):
        done = subprocess.run([sys.executable, "-c", SAME], capture_output=True, text=True,
                              env={**os.environ, "GRAPHAD_NUM_THREADS": threads})  # fmt: skip
        found.add(done.stdout or done.stderr)
    assert len(found) == 1 and len(next(iter(found)).strip()) == 64


def test_reparameterised_gradients():
    def mean(loc, scale):
        return R.normal(KEY, (50,), loc=loc, scale=scale).mean()

    z = R.normal(KEY, (50,))
    g = ga.grad(mean, wrt=(0, 1))(1.0, 2.0)
    np.testing.assert_allclose(g, (1.0, z.mean()), rtol=1e-12)
    u = R.uniform(KEY, (50,))
    g = ga.grad(lambda low: R.uniform(KEY, (50,), low=low, high=2.0).mean())(0.5)
    np.testing.assert_allclose(g, 1.0 - u.mean(), rtol=1e-12)


def test_from_njit():
    import numba

    f = ga.function(lambda key: R.normal(key, (4,)))

    @numba.njit
    def twice(key):
        return 2.0 * f(key)

    np.testing.assert_array_equal(twice(KEY), 2.0 * R.normal(KEY, (4,)))


BAD = [
    (lambda: R.normal(3), DTypeError, "ga.random.key"),
    (lambda: R.normal(R.split(KEY)), ShapeError, "vmap"),
    (lambda: R.normal(KEY, (2, -1)), ShapeError, "negative"),
    (lambda: R.normal(KEY, 2.5), ShapeError, "integers"),
    (lambda: R.normal(KEY, (3,), "int64"), DTypeError, "floats"),
    (lambda: R.normal(KEY, (3,), loc=np.zeros((2, 3))), ShapeError, "parameters"),
    (lambda: R.integers(KEY, 3, 3), ShapeError, "bounds"),
    (lambda: R.integers(KEY, 0.0, 3), DTypeError, "integers"),
    (lambda: R.bits(KEY, 3, "int32"), DTypeError, "uint64"),
    (lambda: R.key("seed"), DTypeError, "integer"),
    (lambda: R.split(KEY, 0), ShapeError, "positive"),
    (lambda: R.choice(KEY, 3, (4,), replace=False), ShapeError, "without replacement"),
    (lambda: R.choice(KEY, 2, (4,), p=[-0.5, 1.5]), WeightError, "negative"),
    (lambda: R.choice(KEY, 5.0), ShapeError, "no list"),
    (lambda: R.uniform(KEY, low=1.0, high=0.0), ParameterError, "high - low < 0"),
    (lambda: R.uniform(KEY, low=-1e308, high=1e308), OverflowError, "valid bounds"),
    (lambda: R.normal(KEY, scale=-1.0), ParameterError, "scale < 0"),
    (lambda: R.normal(KEY, scale=np.array([1.0, -0.0])), ParameterError, "scale < 0"),
    (lambda: R.exponential(KEY, scale=-1), ParameterError, "scale < 0"),
    (lambda: R.gumbel(KEY, scale=-1), ParameterError, "scale < 0"),
    (lambda: R.bernoulli(KEY, 1.5), ParameterError, "p > 1"),
    (lambda: R.bernoulli(KEY, np.array([0.5, np.nan])), ParameterError, "nan"),
    (lambda: R.Categorical(probs=[-1.0, 2.0]), WeightError, "negative"),
]


@pytest.mark.parametrize(("call", "kind", "word"), BAD)
def test_errors(call, kind, word):
    with pytest.raises(kind, match=word) as e:
        call()
    assert "test_random.py" in str(e.value)
