"""The categorical sampler: exact frequencies, extreme weights, draws that differ, and refusals."""

import math
import pickle

import numba
import numpy as np
import pytest
from scipy import stats

import graphad as ga
from graphad import primitives
from graphad.errors import ShapeError, WeightError
from graphad.op import find

R = ga.random
KEY = R.key(11)
N = 100_000
ALARM = 1e-6  # the chance that a right sampler fails one of the tests below


def fits(drawn, p, alarm=ALARM):
    """Whether frequencies pass a chi-square test; what is impossible must not be there."""
    counts = np.bincount(np.ravel(drawn), minlength=len(p))
    if len(counts) > len(p) or counts[p == 0].any():
        return False
    common = p * counts.sum() >= 5
    seen = np.append(counts[common], counts[~common].sum())
    wanted = np.append(p[common], p[~common].sum()) * counts.sum()
    seen, wanted = seen[wanted > 0], wanted[wanted > 0]
    return (
        len(seen) == 1 or stats.chisquare(seen, wanted * (seen.sum() / wanted.sum())).pvalue > alarm
    )


def probabilities(logits):
    w = np.exp(np.asarray(logits, np.longdouble) - np.max(logits))
    return np.asarray(w / w.sum(), float)


LOGITS = {
    "one": np.zeros(1),
    "two": np.array([0.0, 1.0]),
    "zeros": np.array([-np.inf, 0.0, -np.inf, 1.0, 2.0, -np.inf]),
    "spread": np.linspace(-12.0, 3.0, 50),
    "many": np.sin(np.arange(1000.0)),
    "huge": np.array([1000.0, 999.0, -1000.0, 998.0]),
    "extreme": np.array([np.finfo(float).max, -np.finfo(float).max, np.finfo(float).max]),
    "floor": np.full(3, -np.finfo(float).max),
}


@pytest.mark.parametrize("size", [1, 2, 64, 300])
def test_draws_for_many_keys_share_the_weights(size):
    """One word a key: the number of the element in its stream is always 0."""
    keys = R.split(KEY, 500)
    logits = np.sin(np.arange(1.0 * size))
    got = ga.vmap(lambda k: R.categorical(k, logits))(keys)
    assert [R.categorical(keys[k], logits) for k in (0, 7, 499)] == got[[0, 7, 499]].tolist()


def test_the_gradient_by_the_score_with_a_key_for_each_draw():
    keys = R.split(KEY, 200)
    values, logits = np.linspace(0.0, 1.0, 40), np.cos(np.arange(40.0))

    def one(logits, key):
        i = R.categorical(key, ga.stop_gradient(logits))
        return np.asarray(values, like=i)[i] * (logits - np.log(np.sum(np.exp(logits))))[i]

    got = ga.grad(lambda x: np.mean(ga.vmap(lambda k: one(x, k))(keys)))(logits)
    drawn = np.array([R.categorical(k, logits) for k in keys])
    hot = drawn[:, None] == np.arange(40)
    wanted = (values[drawn][:, None] * (hot - probabilities(logits))).mean(0)
    np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-16)


def one_a_row(logits):
    return R.categorical(KEY, np.broadcast_to(logits, (N, len(logits))))


def few(logits):
    return R.categorical(KEY, np.broadcast_to(logits, (N // 50, len(logits))), 50)


def table(logits):
    return R.categorical(KEY, logits, N)


def first_of_several(logits):
    many = np.broadcast_to(logits, (N // 10, len(logits)))
    return R.categorical(KEY, many, 1, replace=False)


WAYS = [one_a_row, few, table, first_of_several]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", LOGITS)
@pytest.mark.parametrize("way", WAYS)
def test_frequencies(way, name, dtype):
    logits = LOGITS[name]
    if dtype == "float32":
        largest = np.finfo("f4").max
        logits = np.where(np.isinf(logits), logits, np.clip(logits, -largest, largest))
    logits = logits.astype(dtype)
    assert fits(way(logits), probabilities(logits))


def test_a_broken_sampler_is_found():
    p = probabilities(LOGITS["spread"])
    assert not fits(table(LOGITS["spread"] * 1.05), p)
    drawn = table(LOGITS["zeros"])
    assert not fits(np.where(np.arange(N) == 7, 0, drawn), probabilities(LOGITS["zeros"]))


def reconstructed(entries):
    """The probabilities that an alias table stands for, exactly as integers."""
    n = len(entries)
    mass = np.zeros(n, object)
    for k, (own, other) in enumerate(entries.tolist()):
        mass[k] += own
        mass[other] += 2**63 - own
    return np.array([float(m / (n * 2**63)) for m in mass])


@pytest.mark.parametrize("name", LOGITS)
def test_the_table_has_the_probabilities(name):
    p = probabilities(LOGITS[name])
    entries = primitives.alias_table(p)
    got = reconstructed(entries)
    np.testing.assert_allclose(got, p, rtol=1e-10, atol=1e-15)
    assert (got[p == 0] == 0).all()


def test_a_head_and_a_million_tails():
    """0.99 in one category and 1e-8 in each of a million, in f32: every tail stays alive."""
    k = 1_000_000
    logits = np.full(k + 1, math.log(0.01 / k), np.float32)
    logits[k // 3] = math.log(0.99)
    drawn = R.categorical(KEY, logits, 3_000_000)
    tails = drawn[drawn != k // 3]
    assert stats.binomtest(len(tails), len(drawn), 0.01).pvalue > ALARM
    assert stats.kstest((tails + R.uniform(KEY, tails.shape)) / (k + 1), "uniform").pvalue > ALARM
    weights = np.exp(logits.astype(float))
    entries = primitives.alias_table(weights)
    alive = np.zeros(k + 1, bool)
    alive[entries[entries[:, 0] < 2**63 - 1, 1]] = True
    alive[entries[:, 0] > 0] = True
    assert alive.all()
    few = R.categorical(KEY, np.broadcast_to(logits, (2, k + 1)), 60)
    assert (few == k // 3).mean() > 0.8


def test_two_to_the_24_categories():
    logits = np.zeros(2**24, np.float32)
    drawn = R.categorical(KEY, logits, 200_000)
    assert stats.kstest((drawn + 0.5) / 2**24, "uniform").pvalue > ALARM
    last = np.where(np.arange(2**24) == 2**24 - 1, 0.0, -np.inf).astype(np.float32)
    assert (R.categorical(KEY, last, 100) == 2**24 - 1).all()
    assert R.categorical(KEY, last) == 2**24 - 1


def test_without_replacement():
    """Orders of successive draws: P(a, b, ...) = p_a p_b / (1 - p_a) ..."""
    logits = np.array([0.0, 1.0, -np.inf, 2.0, 0.5])
    p = probabilities(logits)
    drawn = R.categorical(KEY, np.broadcast_to(logits, (N, 5)), 3, replace=False)
    assert (np.sort(drawn, axis=1)[:, 1:] != np.sort(drawn, axis=1)[:, :-1]).all()
    orders = [(a, b, c) for a in range(5) for b in range(5) for c in range(5)]
    chance = np.zeros(len(orders))
    for k, (a, b, c) in enumerate(orders):
        if len({a, b, c}) == 3 and p[[a, b, c]].all():
            chance[k] = p[a] * p[b] / (1 - p[a]) * p[c] / (1 - p[a] - p[b])
    assert fits(drawn @ [25, 5, 1], chance)


def test_without_replacement_to_the_last():
    for size in (1, 7, 300):
        got = R.categorical(KEY, np.linspace(0.0, 40.0, size), size, replace=False)
        assert sorted(got.tolist()) == list(range(size))
    head = np.r_[100.0, np.zeros(999)]  # after the head, all else by totals made anew
    got = R.categorical(KEY, head, 500, replace=False)
    assert got[0] == 0 and len(set(got.tolist())) == 500


@pytest.mark.parametrize("name", ["categorical", "alias_table", "alias_draw", "distinct"])
def test_kernels_are_their_references(name):
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(4, 130)) * 3
    logits[:, ::7] = -np.inf
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    keys = np.broadcast_to(KEY, (4, 2))
    start = np.arange(4, dtype=np.uint64)
    if name == "categorical":
        words = R.bits(KEY, (4, 9))
        want = find(name).reference([logits, words], {}, None)
        np.testing.assert_array_equal(primitives.invert(logits, words), want)
    elif name == "alias_table":
        got = primitives.alias_table(weights)
        want = find(name).reference([weights], {}, ga.Spec(got.shape, got.dtype))
        for ours, theirs in zip(got, want, strict=True):  # pairs may differ by a rounding
            np.testing.assert_allclose(reconstructed(ours), reconstructed(theirs), atol=1e-14)
    else:
        given = primitives.alias_table(weights) if name == "alias_draw" else weights
        start = start * np.uint64(57) if name == "alias_draw" else start << np.uint64(40)
        spec = ga.Spec((4, 57), np.dtype("i8"))
        want = find(name).reference([given, keys, start], {"count": 57}, spec)
        np.testing.assert_array_equal(getattr(primitives, name)(given, KEY, 0, 57), want)


def test_shapes_and_axes():
    logits = np.sin(np.arange(24.0)).reshape(2, 3, 4)
    assert R.categorical(KEY, logits).shape == (2, 3)
    assert R.categorical(KEY, logits, axis=0).shape == (3, 4)
    assert R.categorical(KEY, logits, 5).shape == (2, 3, 5)
    assert R.categorical(KEY, logits, 100, axis=1).shape == (2, 4, 100)
    assert R.categorical(KEY, logits, 2, replace=False).shape == (2, 3, 2)
    assert np.shape(R.categorical(KEY, logits[0, 0])) == ()
    assert R.categorical(KEY, np.zeros((0, 3))).shape == (0,)
    assert R.categorical(KEY, [0, 5]).dtype == np.int64
    turned = np.asfortranarray(logits)
    np.testing.assert_array_equal(R.categorical(KEY, turned, 100), R.categorical(KEY, logits, 100))


def test_the_distribution():
    probs = np.array([[0.2, 0.0, 0.8], [0.1, 0.6, 0.3]])
    d = R.Categorical(probs=probs)
    np.testing.assert_allclose(d.probs, probs, rtol=1e-14)
    np.testing.assert_allclose(d.mean, probs, rtol=1e-14)
    np.testing.assert_allclose(d.entropy(), stats.entropy(probs, axis=1), rtol=1e-14)
    other = R.Categorical(logits=np.array([0.3, -1.0, 0.2]))
    want = stats.entropy(probs, np.broadcast_to(other.probs, (2, 3)), axis=1)
    np.testing.assert_allclose(d.kl(other), want, rtol=1e-13)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(d.log_prob(2), np.log([0.8, 0.3]), rtol=1e-14)
        np.testing.assert_allclose(d.log_prob([[0, 1], [1, 3]]),
                                   np.log([[0.2, 0.6], [0.0, 0.0]]), rtol=1e-14)  # fmt: skip
    drawn = d.sample(KEY, (200, 300))
    assert drawn.shape == (200, 300, 2) and d.sample(KEY).shape == (2,)
    assert fits(drawn[..., 0], probs[0]) and fits(drawn[..., 1], probs[1])
    traced = ga.function(lambda d, key: d.sample(key, (200, 300)))(d, KEY)
    np.testing.assert_array_equal(traced, drawn)
    g = ga.grad(lambda w: R.Categorical(w).log_prob(1))(np.zeros(4))
    np.testing.assert_allclose(g, [-0.25, 0.75, -0.25, -0.25], rtol=1e-14)
    with pytest.raises(AttributeError):
        d.logits = probs
    again = pickle.loads(pickle.dumps(d))
    np.testing.assert_array_equal(again.sample(KEY, (9,)), d.sample(KEY, (9,)))


# -- choices of tensors and of functions ---------------------------------------------------------
def test_select_of_tensors():
    logits = np.array([0.0, 1.0, -np.inf])
    options = np.arange(6.0).reshape(3, 2)
    at = R.categorical(KEY, logits, 100)
    np.testing.assert_array_equal(R.select(KEY, logits, options, 100), options[at])
    np.testing.assert_array_equal(R.select(KEY, logits, list(options)),
                                  options[R.categorical(KEY, logits)])  # fmt: skip
    g = ga.grad(lambda o: R.select(KEY, logits, o, 100).sum())(options)
    counts = np.bincount(at, minlength=3)
    np.testing.assert_array_equal(g, np.repeat(counts[:, None], 2, axis=1))


def test_select_runs_only_what_is_drawn():
    called = []

    def option(k):
        @numba.njit
        def note(x):
            with numba.objmode():
                called.append(k)
            return x * k

        return lambda x: ga.external(note)(x)

    functions = [option(k) for k in range(5)]
    logits = np.array([-np.inf, 0.0, -np.inf, 0.0, -np.inf])
    f = ga.function(lambda key, x: R.select(key, logits, functions, 6, operands=(x,)))
    got = f(KEY, np.ones(2))
    at = R.categorical(KEY, logits, 6)
    np.testing.assert_array_equal(got, np.repeat(at[:, None], 2, axis=1))
    assert called == at.tolist()


def test_select_of_functions_has_gradients_and_maps():
    logits = np.array([0.0, 0.5, 1.0])
    functions = [np.sin, np.cos, lambda x: x**3]
    keys = R.split(KEY, 20)

    def f(key, x):
        return R.select(key, logits, functions, operands=(x,))

    got = ga.vmap(ga.grad(f, wrt=1), in_axes=(0, None))(keys, 0.7)
    slopes = np.array([math.cos(0.7), -math.sin(0.7), 3 * 0.49])
    at = [R.categorical(k, logits) for k in keys]
    np.testing.assert_allclose(got, slopes[at], rtol=1e-14)
    assert len(set(at)) == 3
    closed = [lambda: {"a": 1.0}, lambda: {"a": 2.0}, lambda: {"a": 3.0}]
    np.testing.assert_array_equal(R.select(KEY, logits, closed, 7)["a"],
                                  R.categorical(KEY, logits, 7) + 1.0)  # fmt: skip


# -- gradients through a choice ------------------------------------------------------------------
VALUES = np.array([1.0, -2.0, 4.0, 0.5])


def exact(logits):
    return ga.grad(lambda w: R.expectation(w, lambda k: np.asarray(VALUES, like=k)[k]))(logits)


def test_expectation_is_exact():
    logits = np.array([0.1, 0.2, -0.3, 0.0])
    p = probabilities(logits)
    np.testing.assert_allclose(
        R.expectation(logits, lambda k: np.asarray(VALUES, like=k)[k]), p @ VALUES, rtol=1e-14
    )
    np.testing.assert_allclose(exact(logits), p * (VALUES - p @ VALUES), rtol=1e-13)


@pytest.mark.parametrize("baseline", [0.0, 1.5])
def test_score_function_is_unbiased(baseline):
    logits = np.array([0.1, 0.2, -0.3, 0.0])

    def one(logits, key):
        d = R.Categorical(logits)
        k = d.sample(key)
        return R.score_function(np.asarray(VALUES, like=k)[k], d.log_prob(k), baseline=baseline)

    keys = R.split(KEY, 40_000)
    each = ga.vmap(ga.grad(one), in_axes=(None, 0))(logits, keys)
    error = (each.mean(0) - exact(logits)) / (each.std(0) / math.sqrt(len(each)))
    assert (np.abs(error) < stats.norm.isf(ALARM / 8)).all()


def test_gumbel_softmax():
    logits = np.array([0.1, 1.2, -0.3])
    keys = R.split(KEY, 20_000)
    hard = ga.vmap(lambda k: R.gumbel_softmax(k, logits, 0.5, hard=True))(keys)
    soft = ga.vmap(lambda k: R.gumbel_softmax(k, logits, 0.5))(keys)
    assert set(np.unique(hard)) == {0.0, 1.0} and (hard.sum(-1) == 1).all()
    np.testing.assert_allclose(soft.sum(-1), 1.0, rtol=1e-12)
    assert fits(hard.argmax(-1), probabilities(logits))
    np.testing.assert_array_equal(hard.argmax(-1), soft.argmax(-1))

    def value(hard):
        return ga.jacobian(lambda w: R.gumbel_softmax(KEY, w, 0.5, hard=hard))(logits)

    np.testing.assert_array_equal(value(True), value(False))  # straight through


# -- refusals ------------------------------------------------------------------------------------
NAN, NOTHING = np.array([0.0, np.nan]), np.full(3, -np.inf)
REFUSED = [
    (lambda w: R.categorical(KEY, w), NAN, "nan"),
    (lambda w: R.categorical(KEY, w, 3), NAN, "nan"),
    (lambda w: R.categorical(KEY, w, 300), NAN, "nan"),
    (lambda w: R.categorical(KEY, w, 1, replace=False), NAN, "nan"),
    (lambda w: R.categorical(KEY, w, 300), np.array([np.inf, 0.0]), "inf"),
    (lambda w: R.categorical(KEY, w), np.array([np.inf, 0.0]), "inf"),
    (lambda w: R.categorical(KEY, w), NOTHING, "-inf"),
    (lambda w: R.categorical(KEY, w, 300), NOTHING, "-inf"),
    (lambda w: R.categorical(KEY, w, 2, replace=False), NOTHING, "-inf"),
    (lambda w: R.categorical(KEY, w, 2, replace=False), np.array([0.0, -np.inf]), "non-zero"),
]


@pytest.mark.parametrize(("draw", "logits", "word"), REFUSED)
def test_bad_weights(draw, logits, word):
    with pytest.raises(WeightError, match=word) as e:
        draw(logits)
    assert "test_categorical.py" in str(e.value)
    f = ga.function(draw)
    with pytest.raises(WeightError, match=word):
        f(logits)

    @numba.njit
    def compiled(logits):
        return f(logits)

    with pytest.raises(ValueError, match=word):
        compiled(logits)


def test_nothing_is_partly_written():
    logits = np.zeros((1000, 8))
    logits[-1] = np.nan
    f = ga.function(lambda w: R.categorical(KEY, w))
    out = np.full(1000, -7)
    with pytest.raises(WeightError):
        f(logits, out=out)
    assert (out == -7).all()


SHAPES = [
    (lambda: R.categorical(KEY, np.zeros((3, 0))), "no categories"),
    (lambda: R.categorical(KEY, np.zeros(3), 0), "positive"),
    (lambda: R.categorical(KEY, np.zeros(3), -2), "positive"),
    (lambda: R.categorical(KEY, np.zeros(3), 2.5), "integer"),
    (lambda: R.categorical(KEY, np.zeros(3), 4, replace=False), "without replacement"),
    (lambda: R.categorical(KEY, np.zeros(3), replace=False), "replace"),
    (lambda: R.categorical(KEY, 1.0), "no list"),
    (lambda: R.select(KEY, np.zeros(3), np.zeros((2, 2))), "log-weight"),
    (lambda: R.select(KEY, np.zeros((2, 2)), [np.sin, np.cos]), "one row"),
    (lambda: R.Categorical(), "neither"),
]


@pytest.mark.parametrize(("call", "word"), SHAPES)
def test_bad_shapes(call, word):
    with pytest.raises(ShapeError, match=word) as e:
        call()
    assert "test_categorical.py" in str(e.value)
