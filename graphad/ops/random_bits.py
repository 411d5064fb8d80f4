"""Random words by counter: `random_bits(key, stream, index)`, elementwise; see bodies/philox.py.

A word is a function of its three arguments, all unsigned integers of 64 bits, and of nothing else.
The operation has words of 64 bits and of 32.
"""

from __future__ import annotations

import numpy as np

from graphad.op import Op, register
from graphad.ops.scalar import elementwise
from graphad.ops.value import batch_by_repeating
from graphad.spec import Spec

# Philox4x32-10, as in the paper that bodies/philox.py names.
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
STEPS = (0x9E3779B9, 0xBB67AE85)  # of the key from round to round
ROUNDS, LOW = 10, 0xFFFFFFFF
PIECE = 64  # weights whose sum is kept
PASSED = 128  # what a draw that was made before costs, in weights to add up
I8 = np.dtype("i8")
WORDS = {"u8": np.dtype("u8"), "u4": np.dtype("u4")}


def _reference(dtype):
    per = 16 // dtype.itemsize  # elements of a block

    def words(arrays, params, spec):
        key, stream, index = (np.asarray(a, np.uint64) for a in arrays)
        low, upper = np.uint64(LOW), np.uint64(32)
        block = index // np.uint64(per)
        c = [block & low, block >> upper, stream & low, stream >> upper]
        k = [key & low, key >> upper]
        for _ in range(ROUNDS):
            p, q = (c[2 * i] * np.uint64(m) for i, m in enumerate(MULTIPLIERS))
            c = [(q >> upper) ^ c[1] ^ k[0], q & low, (p >> upper) ^ c[3] ^ k[1], p & low]
            k = [(a + np.uint64(step)) & low for a, step in zip(k, STEPS, strict=True)]
        if per == 2:
            c = [c[0] | c[1] << upper, c[2] | c[3] << upper]
        which = (index % np.uint64(per)).astype(np.int64)
        return np.choose(which, c).astype(dtype)

    return words


for _code, _dtype in WORDS.items():
    _name = f"random_{_code}"
    register(
        Op(_name, "opaque",
           lambda specs, params, _dtype=_dtype: Spec(specs[0].shape, _dtype),
           _reference(_dtype), arity=3, batch=batch_by_repeating(_name),
           body=f"philox_{_code}({{0}}, {{1}}, {{2}})", cost=60)
    )  # fmt: skip


def _quantile_reference(x):
    from scipy.special import ndtri

    return ndtri(x)


# The logarithm of positive, normal, finite numbers, and the normal quantile of tails in (0, 1/2];
# what they are given has no derivative.
elementwise("tail_log", None, "tail_log_{code}({0})", reference=np.log,
            family="opaque", arity=1, takes="float", cost=15, domain=((0.01, 1.0),))  # fmt: skip
elementwise("tail_quantile", None, "tail_quantile_{code}({0})", reference=_quantile_reference,
            family="opaque", arity=1, takes="float", cost=30, domain=((0.01, 0.5),))  # fmt: skip


# -- the categorical sampler: weights along the last axis, a row for each distribution ------------
def _weights_of(logits):
    """(exp(logits - max), their totals); impossible rows are nan."""
    with np.errstate(all="ignore"):
        w = np.exp(logits - logits.max(-1, keepdims=True)).astype(np.float64)
    return w, w.sum(-1, keepdims=True)


def _categorical_reference(arrays, params, spec):
    weights, total = _weights_of(arrays[0])
    t = (arrays[1] >> np.uint64(11)) * 2.0**-53 * total
    ends = weights.cumsum(-1)
    first = (ends[..., None, :] > t[..., None]) & (weights[..., None, :] > 0)
    return first.argmax(-1).astype(np.int64)


def _table_reference(arrays, params, spec):
    """The table by the same pairing, row by row."""
    (weights,) = arrays
    out = np.zeros(spec.shape, np.int64)
    n = weights.shape[-1]
    for w, row in zip(weights.reshape(-1, n), out.reshape(-1, n, 2), strict=True):
        share = w * (n / w.sum())
        small = [k for k in range(n) if share[k] < 1.0]
        large = [k for k in range(n) if share[k] >= 1.0]
        row[:] = [(2**63 - 1, k) for k in range(n)]
        while small and large:
            k, other = small.pop(), large[-1]
            row[k] = int(share[k] * 2.0**63), other
            share[other] = (share[other] + share[k]) - 1.0
            if share[other] < 1.0:
                small.append(large.pop())
        for k in small:
            row[k] = int(max(share[k], 0.0) * 2.0**63), int(w.argmax())
    return out


def _rows(arrays):
    """(one row of the first array, its key and stream, its first element), one after another."""
    first, keys, starts = arrays
    rank = keys.ndim - 1
    flat = first.reshape(-1, *first.shape[rank:])
    return zip(flat, keys.reshape(-1, 2), starts.ravel(), strict=True)


def _words(key, start, count):
    index = np.uint64(start) + np.arange(count, dtype=np.uint64)
    given = [np.full(count, k, np.uint64) for k in key]
    return _reference(WORDS["u8"])([*given, index], {}, None)


def _draw_reference(arrays, params, spec):
    out = []
    for table, key, start in _rows(arrays):
        words = _words(key, start, params["count"])
        places = [divmod(int(w) * len(table), 2**64) for w in words]
        out.append([k if part // 2 < table[k, 0] else table[k, 1] for k, part in places])
    return np.asarray(out, np.int64).reshape(spec.shape)


def _distinct_reference(arrays, params, spec):
    out = []
    for w, key, start in _rows(arrays):
        w, drawn, passed, index = w.copy(), [], 0, int(start)
        while len(drawn) < params["count"]:
            u = (_words(key, index, 1)[0] >> np.uint64(11)) * 2.0**-53
            ends = w.cumsum()
            k = int(np.argmax((ends > u * ends[-1]) & (w > 0)))
            index += 1
            if k not in drawn:
                drawn.append(k)
                continue
            passed += 1
            if passed * PASSED > len(w):
                passed = 0
                w[drawn] = 0.0
        out.append(drawn)
    return np.asarray(out, np.int64).reshape(spec.shape)


def _few_reference(arrays, params, spec):
    """Integers below `total`, those seen before passed over."""
    out = []
    for key in arrays[0].reshape(-1, 2):
        drawn: list[int] = []
        index = 0
        while len(drawn) < params["count"]:
            k = int(_words(key, index, 1)[0]) * params["total"] >> 64
            index += 1
            if k not in drawn:
                drawn.append(k)
        out.append(drawn)
    return np.asarray(out, np.int64).reshape(spec.shape)


def slots_for(count: int) -> int:
    """The size of a table for so many numbers: a power of two, half of it empty."""
    return 1 << (2 * count - 1).bit_length()


def _counted(specs, params):
    return Spec((*specs[1].shape[:-1], params["count"]), I8)


def _pieces(shape):
    """The shape of one number for each piece of a row; of a row of unknown length, enough."""
    n = shape[-1]
    return (*shape[:-1], (n + PIECE - 1) // PIECE if isinstance(n, int) else n)


def _room(*dtypes):
    """Scratch memory: an array of each dtype in the shape of the weights, and ends of pieces."""

    def scratch(specs, params):
        shape = specs[0].shape
        made = [Spec(shape, np.dtype(d)) for d in dtypes]
        return [*made[:1], Spec(_pieces(shape), np.dtype("f8")), *made[1:]]

    return scratch


def _routine(name, infer, reference, arity, scratch=None):
    register(
        Op(name, "opaque", infer, reference, arity=arity, batch=batch_by_repeating(name),
           lowering="routine", scratch=scratch, cost=400)
    )  # fmt: skip


_routine("categorical", lambda specs, params: Spec(specs[1].shape, I8), _categorical_reference, 2,
         _room("f8"))  # fmt: skip
_routine("alias_table", lambda specs, params: Spec((*specs[0].shape, 2), I8),
         _table_reference, 1, lambda specs, params: [
             Spec(specs[0].shape, np.dtype("f8")), Spec(specs[0].shape, I8),
             Spec(_pieces(specs[0].shape), np.dtype("f8"))])  # fmt: skip
_routine("alias_draw", _counted, _draw_reference, 3)
_routine("distinct", _counted, _distinct_reference, 3, _room("f8", "u1"))
_routine("few_of_many", lambda specs, params: Spec((*specs[0].shape[:-1], params["count"]), I8),
         _few_reference, 1, lambda specs, params: [
             Spec((*specs[0].shape[:-1], slots_for(params["count"])), I8)])  # fmt: skip
