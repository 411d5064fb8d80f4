"""Philox4x32-10: random words by counter, for one element or a vector of neighbours at once.

J. K. Salmon, M. A. Moraes, R. O. Dror and D. E. Shaw, Parallel random numbers: as easy as 1, 2, 3,
SC 2011. A block of four 32-bit words is a function of a 64-bit key and a 128-bit counter. Here the
upper half of the counter is the stream and the lower half the number of the block; element i of
64-bit words is half of block i >> 1, of 32-bit words a quarter of block i >> 2.

Lanes of a vector that ask for neighbouring elements of one stream share their blocks: two lanes
of 64 bits hold one, words 0 and 2 in one vector, 1 and 3 in another, which is their order in
memory. Any other lanes compute a block each.
"""

from __future__ import annotations

from llvmlite import ir

from graphad.bodies.real import keep, on_cuda
from graphad.emit.target import target_of
from graphad.ops.random_bits import LOW, MULTIPLIERS, ROUNDS, STEPS

I64 = ir.IntType(64)
RESULTS = {"u8": I64, "u4": ir.IntType(32)}
INLINED = "graphad_rare_"  # the prefix of what is inlined after vectorisation, see compile/build.py


def word(b, code: str, key, stream, index):
    """The random word of this element, of the given dtype."""
    f = _scalar_form(b.module, code)
    chosen = b.call(f, [key, stream, index])
    if not on_cuda(b):
        forms = ",".join(_vector_form(b.module, code, n) for n in _widths(b.module, code))
        set.add(chosen.attributes, f'"vector-function-abi-variant"="{forms}"')
        keep(b.module, f)
    return chosen


def _widths(module, code: str) -> list[int]:
    """Lanes of the vector forms: as many as fit this CPU's vectors, and half or twice as many."""
    native = target_of(module).bits // (8 * int(code[1]))
    return [native, 2 * native] if code == "u8" else [native // 2, native]


def _scalar_form(module, code: str):
    name = f"{INLINED}philox_{code}"
    known = module.globals.get(name)
    if known is not None:
        return known
    f = ir.Function(module, ir.FunctionType(RESULTS[code], [I64] * 3), name)
    f.linkage = "internal"
    # The GPU's compiler is older and knows no "memory".
    f.attributes.add("nounwind")
    for attribute in () if target_of(module).cuda else ("noinline", "willreturn", "memory(none)"):
        set.add(f.attributes, attribute)
    b = ir.IRBuilder(f.append_basic_block())
    b.ret(_own_blocks(b, code, *f.args))
    return f


def _vector_form(module, code: str, lanes: int) -> str:
    """The vector form of so many lanes, as the attribute of a call names it."""
    scalar = f"{INLINED}philox_{code}"
    name = f"{scalar}_{lanes}"
    described = f"_ZGV_LLVM_N{lanes}vvv_{scalar}({name})"
    if name in module.globals:
        return described
    words = ir.VectorType(I64, lanes)
    kind = ir.FunctionType(ir.VectorType(RESULTS[code], lanes), [words] * 3)
    f = ir.Function(module, kind, name)
    f.linkage = "internal"
    f.attributes.add("alwaysinline")
    b = ir.IRBuilder(f.append_basic_block())
    if lanes < _per_block(code):  # less than a block
        b.ret(_own_blocks(b, code, *f.args))
    else:
        together, first = _neighbours(b, code, lanes, f.args)
        with b.if_then(b.not_(together), likely=False):
            b.ret(b.call(_apart(module, code, lanes, kind), f.args))
        b.ret(_shared_blocks(b, code, lanes, *first))
    keep(module, f)
    return described


def _apart(module, code: str, lanes: int, kind):
    """Lanes that are no neighbours, each with a block of its own."""
    f = ir.Function(module, kind, f"graphad_apart_philox_{code}_{lanes}")
    f.linkage = "internal"
    for attribute in ("noinline", "cold", "nounwind", "memory(none)"):
        set.add(f.attributes, attribute)
    b = ir.IRBuilder(f.append_basic_block())
    b.ret(_own_blocks(b, code, *f.args))
    return f


def _per_block(code: str) -> int:
    """Elements of a block."""
    return 16 // int(code[1])


def _vector(value, like):
    """A constant in the type of `like`, a word or a vector of words."""
    if isinstance(like.type, ir.VectorType):
        return ir.Constant(like.type, [value] * like.type.count)
    return ir.Constant(like.type, value)


def _own_blocks(b, code: str, key, stream, index):
    """Each element with a block of its own."""

    def whole(n):
        return _vector(n, index)

    per = _per_block(code)
    block = b.lshr(index, whole(per.bit_length() - 1))
    low, upper = whole(LOW), whole(32)
    c = [b.and_(block, low), b.lshr(block, upper), b.and_(stream, low), b.lshr(stream, upper)]
    k = [b.and_(key, low), b.lshr(key, upper)]
    for _ in range(ROUNDS):
        p, q = (b.mul(c[2 * i], whole(m)) for i, m in enumerate(MULTIPLIERS))
        c = [b.xor(b.xor(b.lshr(q, upper), c[1]), k[0]), b.and_(q, low),
             b.xor(b.xor(b.lshr(p, upper), c[3]), k[1]), b.and_(p, low)]  # fmt: skip
        k = [b.and_(b.add(key, whole(step)), low) for key, step in zip(k, STEPS, strict=True)]
    one = whole(1)
    odd = b.icmp_unsigned("==", b.and_(index, one), one)
    if code == "u8":
        pairs = [b.or_(c[2 * i], b.shl(c[2 * i + 1], upper)) for i in range(2)]
        return b.select(odd, pairs[1], pairs[0])
    late = b.icmp_unsigned("!=", b.and_(index, whole(2)), whole(0))
    chosen = b.select(odd, b.select(late, c[3], c[1]), b.select(late, c[2], c[0]))
    narrow = RESULTS[code]
    if isinstance(index.type, ir.VectorType):
        narrow = ir.VectorType(narrow, index.type.count)
    return b.trunc(chosen, narrow)


def _neighbours(b, code: str, lanes: int, arguments):
    """(whether the lanes ask for the elements of whole blocks in order, the first lane's arguments)
    of one key and stream."""
    zero = ir.Constant(ir.IntType(32), 0)
    first = [b.extract_element(a, zero) for a in arguments]
    per = _per_block(code)
    off = b.and_(first[2], ir.Constant(I64, per - 1))
    expected = b.add(_splat(b, first[2], lanes), _counting(lanes))
    apart = b.xor(arguments[2], expected)
    for a, one in zip(arguments[:2], first[:2], strict=True):
        apart = b.or_(apart, b.xor(a, _splat(b, one, lanes)))
    kind = ir.IntType(lanes)
    other = b.bitcast(b.icmp_unsigned("!=", apart, _vector(0, apart)), kind)
    aligned = b.icmp_unsigned("==", off, ir.Constant(I64, 0))
    return b.and_(b.icmp_unsigned("==", other, kind(0)), aligned), first


def _counting(lanes: int):
    return ir.Constant(ir.VectorType(I64, lanes), list(range(lanes)))


def _splat(b, value, lanes: int):
    kind = ir.VectorType(I64, lanes)
    one = b.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    return b.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)


def _alternating(lanes: int, even: int, odd: int):
    values = [(even, odd)[k % 2] for k in range(lanes)]
    return ir.Constant(ir.VectorType(I64, lanes), values)


def _shared_blocks(b, code: str, lanes: int, key, stream, index):
    """Lanes that are neighbours: words 0 and 2 of blocks in one vector, 1 and 3 in another."""
    halves = lanes * int(code[1]) // 8  # lanes of 64 bits
    per = _per_block(code)
    start = b.lshr(index, ir.Constant(I64, per.bit_length() - 1))
    upper32 = ir.Constant(I64, 32)
    numbers = ir.Constant(ir.VectorType(I64, halves), [k // 2 for k in range(halves)])
    block = b.add(_splat(b, start, halves), numbers)
    swapped = ir.Constant(ir.VectorType(ir.IntType(32), halves), [k ^ 1 for k in range(halves)])
    evens = ir.Constant(ir.VectorType(ir.IntType(1), halves), [k % 2 == 0 for k in range(halves)])
    low, upper = _vector(LOW, block), _vector(32, block)

    def joined(even, odd):
        return b.select(evens, even, odd)

    wide = _splat(b, stream, halves)
    x = joined(block, wide)
    y = b.lshr(x, upper)
    k = joined(_splat(b, key, halves), _splat(b, b.lshr(key, upper32), halves))
    factors, steps = _alternating(halves, *MULTIPLIERS), _alternating(halves, *STEPS)
    for _ in range(ROUNDS):
        # What stands above 32 bits is of no use: it is cut off before each product.
        product = b.mul(b.and_(x, low), factors)
        turned = b.shuffle_vector(product, product, swapped)
        x, y = b.xor(b.xor(b.lshr(turned, upper), y), k), turned
        k = b.add(k, steps)
    out = b.or_(b.and_(x, low), b.shl(y, upper))
    if code == "u8":
        return out
    return b.bitcast(out, ir.VectorType(RESULTS[code], lanes))
