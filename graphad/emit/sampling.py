"""Kernels of the categorical sampler: inversion, the alias method, and draws without replacement.

Weights are added up in f64, in pieces of PIECE elements; a draw finds its piece by the running
totals of the pieces, then its element. A weight of zero is never drawn: where rounding leaves no
element, the last one of the piece that has a weight is taken.
"""

from __future__ import annotations

from graphad.emit.kernel import Kernel, code_of
from graphad.emit.routines import by_rows, declare
from graphad.lower.order import BLOCK
from graphad.lower.program import Routine
from graphad.ops.random_bits import LOW, PASSED, PIECE, slots_for
from graphad.spec import size_of
from graphad.status import BAD_WEIGHT, NO_WEIGHT, TOO_FEW

HASH = 0x9E3779B97F4A7C15  # 2**64 by the golden ratio

# ends[p] = the sum of the weights of pieces up to the p-th; `total` is the last.
_ENDS = """\
{i}total = f8(0.0)
{i}for p in range(pieces):
{i}    total = total + sum_f8(f8(0.0), w + p * {bytes}, min({piece}, n - p * {piece}))
{i}    keep_f8(ends, p, total)
"""
# k = the element that a word draws.
_FIND = """\
{i}t = f8(word >> u8(11)) * f8(2.0 ** -53) * total
{i}low = 0
{i}high = pieces - 1
{i}while low < high:
{i}    middle = (low + high) // 2
{i}    after = peek_f8(ends, middle) <= t
{i}    low = middle + 1 if after else low
{i}    high = high if after else middle
{i}sofar = peek_f8(ends, max(low - 1, 0)) if low > 0 else f8(0.0)
{i}k = -1
{i}for j in range(low * {piece}, min(low * {piece} + {piece}, n)):
{i}    value = peek_f8(w, j)
{i}    sofar = sofar + value
{i}    if value > f8(0.0):
{i}        k = j
{i}        if sofar > t:
{i}            break
{i}while k < 0:
{i}    low = low - 1
{i}    for j in range(low * {piece}, low * {piece} + {piece}):
{i}        k = j if peek_f8(w, j) > f8(0.0) else k
"""


def _ends(depth: int) -> str:
    return _ENDS.format(i="    " * depth, piece=PIECE, bytes=8 * PIECE)


def _find(depth: int) -> str:
    text = _FIND.replace("2.0 ** -53", repr(2.0**-53))
    return text.format(i="    " * depth, piece=PIECE)


def _tested(depth: int) -> str:
    """Stop at a total that says what is wrong with the weights."""
    i = "    " * depth
    return (
        f"{i}if total != total:\n{i}    return {BAD_WEIGHT}\n"
        f"{i}if total == f8(0.0):\n{i}    return {NO_WEIGHT}\n"
    )


@declare("categorical")
def _categorical(region: Routine) -> Kernel:
    """One or few draws from each row of log-weights, by inversion."""
    logits, words = region.inputs
    code = code_of(logits.dtype)
    n, draws = logits.shape[-1], words.shape[-1]
    source = f"""\
def kernel(table, start, stop):
    wide_vectors()
    n = integer(table, 5)
    draws = integer(table, 6)
    pieces = (n + {PIECE - 1}) // {PIECE}
    for row in range(start, stop):
        x = integer(table, 0) + row * n * {logits.dtype.itemsize}
        words = integer(table, 1) + row * draws * 8
        out = integer(table, 2) + row * draws * 8
        w = integer(table, 3) + row * n * 8
        ends = integer(table, 4) + row * pieces * 8
        top = max_{code}({code}(-np.inf), x, n)
        if top == {code}(np.inf):
            return {BAD_WEIGHT}
        if top == {code}(-np.inf):
            return {NO_WEIGHT}
        for k in range(n):
            store_f8(w, k, f8(exp_{code}(load_{code}(x, k) - top)))
{_ends(2)}{_tested(2)}        for d in range(draws):
            word = peek_u8(words, d)
{_find(3)}            keep_i8(out, d, k)
    return 0
"""
    return by_rows(region, source, (n, draws), size_of(logits.shape[:-1]), n * 12 + draws * 300,
                   fails=True)  # fmt: skip


@declare("alias_table")
def _alias_table(region: Routine) -> Kernel:
    """A. J. Walker's table by M. D. Vose's pairing (A linear algorithm for generating random
    numbers with a given distribution, IEEE Trans. Softw. Eng. 17, 1991).

    Thresholds are parts of 2**63. What rounding leaves short goes to the heaviest element.
    """
    n = region.inputs[0].shape[-1]
    source = f"""\
def kernel(table, start, stop):
    n = integer(table, 5)
    pieces = (n + {PIECE - 1}) // {PIECE}
    for row in range(start, stop):
        w = integer(table, 0) + row * n * 8
        out = integer(table, 1) + row * n * 16
        share = integer(table, 2) + row * n * 8
        work = integer(table, 3) + row * n * 8
        ends = integer(table, 4) + row * pieces * 8
{_ends(2)}{_tested(2)}        scale = f8(n) / total
        low = 0
        high = n
        heaviest = 0
        for k in range(n):
            value = peek_f8(w, k) * scale
            keep_f8(share, k, value)
            heaviest = k if value > peek_f8(share, heaviest) else heaviest
            small = value < f8(1.0)
            high = high if small else high - 1
            keep_i8(work, low if small else high, k)
            low = low + 1 if small else low
        while low > 0 and high < n:
            low = low - 1
            k = peek_i8(work, low)
            other = peek_i8(work, high)
            part = peek_f8(share, k)
            keep_i8(out, 2 * k, i8(part * f8({2.0**63!r})))
            keep_i8(out, 2 * k + 1, other)
            rest = (peek_f8(share, other) + part) - f8(1.0)
            keep_f8(share, other, rest)
            if rest < f8(1.0):
                high = high + 1
                keep_i8(work, low, other)
                low = low + 1
        for at in range(low):
            k = peek_i8(work, at)
            part = peek_f8(share, k)
            part = part if part > f8(0.0) else f8(0.0)
            keep_i8(out, 2 * k, i8(part * f8({2.0**63!r})))
            keep_i8(out, 2 * k + 1, heaviest)
        for at in range(high, n):
            k = peek_i8(work, at)
            keep_i8(out, 2 * k, {2**63 - 1})
            keep_i8(out, 2 * k + 1, k)
    return 0
"""
    return by_rows(region, source, (n,), size_of(region.inputs[0].shape[:-1]), n * 60, fails=True)


@declare("alias_draw")
def _alias_draw(region: Routine) -> Kernel:
    """Draws by the table: the product of a word and the number of elements is a place and a part.
    Words are made a piece at a time, in vectors; pieces start where blocks of words do.
    """
    n, count = region.inputs[0].shape[-2], region.param("count")
    source = f"""\
def kernel(table, start, stop):
    wide_vectors()
    n = integer(table, 4)
    count = integer(table, 5)
    places = block_i8()
    parts = block_i8()
    size = u8(n)
    at = start
    while at < stop:
        row = at // count
        entries = integer(table, 0) + row * n * 16
        key = peek_u8(integer(table, 1), 2 * row)
        stream = peek_u8(integer(table, 1), 2 * row + 1)
        first = peek_u8(integer(table, 2), row) + u8(at - row * count)
        m = {BLOCK} - i8(first & u8({BLOCK - 1}))
        m = min(m, min((row + 1) * count - at, stop - at))
        to = integer(table, 3) + at * 8
        for i in range(m):
            word = philox_u8(key, stream, first + u8(i))
            low = (word & u8({LOW})) * size
            high = (word >> u8(32)) * size + (low >> u8(32))
            store_i8(places, i, i8(high >> u8(32)))
            store_i8(parts, i, i8((word * size) >> u8(1)))
        for i in range(m):
            k = peek_i8(places, i)
            other = peek_i8(entries, 2 * k + 1)
            keep_i8(to, i, either(peek_i8(parts, i) < peek_i8(entries, 2 * k), k, other))
        at = at + m
    return 0
"""
    rows = size_of(region.inputs[0].shape[:-2])
    return by_rows(region, source, (n, count), rows * count, 25, grain=BLOCK)


@declare("distinct")
def _distinct(region: Routine) -> Kernel:
    """Draws without replacement: draws by inversion of which those seen before are passed over,
    and the totals made anew once that has cost as much."""
    n, count = region.inputs[0].shape[-1], region.param("count")
    source = f"""\
def kernel(table, start, stop):
    n = integer(table, 7)
    count = integer(table, 8)
    pieces = (n + {PIECE - 1}) // {PIECE}
    for row in range(start, stop):
        key = peek_u8(integer(table, 1), 2 * row)
        stream = peek_u8(integer(table, 1), 2 * row + 1)
        index = peek_u8(integer(table, 2), row)
        out = integer(table, 3) + row * count * 8
        w = integer(table, 4) + row * n * 8
        ends = integer(table, 5) + row * pieces * 8
        seen = integer(table, 6) + row * n
        copy_bytes(w, integer(table, 0) + row * n * 8, 8 * n)
        fill_zero(seen, n)
{_ends(2)}{_tested(2)}        some = 0
        for k in range(n):
            some = some + (1 if peek_f8(w, k) > f8(0.0) else 0)
        if some < count:
            return {TOO_FEW}
        done = 0
        passed = 0
        while done < count:
            word = philox_u8(key, stream, index)
            index = index + u8(1)
{_find(3)}            if peek_u1(seen, k) == u1(0):
                keep_u1(seen, k, u1(1))
                keep_i8(out, done, k)
                done = done + 1
            else:
                passed = passed + 1
                if passed * {PASSED} > n:
                    passed = 0
                    for at in range(done):
                        keep_f8(w, peek_i8(out, at), f8(0.0))
{_ends(5)}    return 0
"""
    rows = size_of(region.inputs[0].shape[:-1])
    return by_rows(region, source, (n, count), rows, n * 30 + count * 800, fails=True)


@declare("few_of_many")
def _few_of_many(region: Routine) -> Kernel:
    """Different integers below `total`: of draws those seen before are passed over, which a table
    by their hashes tells (D. E. Knuth, The Art of Computer Programming 3, 6.4)."""
    count, total = region.param("count"), region.param("total")
    slots = slots_for(count)
    source = f"""\
def kernel(table, start, stop):
    total = u8(integer(table, 3))
    count = integer(table, 4)
    slots = integer(table, 5)
    shift = u8(integer(table, 6))
    total_high = total >> u8(32)
    total_low = total & u8({LOW})
    for row in range(start, stop):
        key = peek_u8(integer(table, 0), 2 * row)
        stream = peek_u8(integer(table, 0), 2 * row + 1)
        out = integer(table, 1) + row * count * 8
        seen = integer(table, 2) + row * slots * 8
        fill_zero(seen, slots * 8)
        index = u8(0)
        done = 0
        while done < count:
            word = philox_u8(key, stream, index)
            index = index + u8(1)
            one = (word >> u8(32)) * total_low
            two = (word & u8({LOW})) * total_high
            carry = ((word & u8({LOW})) * total_low) >> u8(32)
            middle = ((one & u8({LOW})) + (two & u8({LOW})) + carry) >> u8(32)
            upper = (word >> u8(32)) * total_high + (one >> u8(32)) + (two >> u8(32)) + middle
            k = i8(upper)
            at = i8((upper * u8({HASH})) >> shift)
            other = peek_i8(seen, at)
            while other != 0 and other != k + 1:
                at = at + 1 if at + 1 < slots else 0
                other = peek_i8(seen, at)
            if other == 0:
                keep_i8(seen, at, k + 1)
                keep_i8(out, done, k)
                done = done + 1
    return 0
"""
    rows = size_of(region.inputs[0].shape[:-1])
    sizes = (total, count, slots, 64 - (slots.bit_length() - 1))
    return by_rows(region, source, sizes, rows, 100 + count * 250)
