"""Functions of blocks of elements, compiled once and found by their symbol: reductions, products of
many rows with one, sums of rows.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from graphad.emit.loops import BLOCK, LANES
from graphad.runtime.instructions import I32, I64, STORED, counted, element, number


def _combine(b, kind, code, x, y):
    floating = code[0] == "f"
    if kind == "sum":
        return b.fadd(x, y) if floating else b.add(x, y)
    if kind == "prod":
        return b.fmul(x, y) if floating else b.mul(x, y)
    order = ">" if kind == "max" else "<"
    if not floating:
        compare = b.icmp_unsigned if code[0] in "ub" else b.icmp_signed
        return b.select(compare(order, y, x), y, x)
    # nan wins and stays: y > x, or y is nan.
    better = b.or_(b.fcmp_ordered(order, y, x), b.fcmp_unordered("uno", y, y))
    return b.select(better, y, x)


KINDS = [c + k for c in ("", "chain_") for k in ("sum", "prod", "max", "min")]
NOT_KEPT = "captures(none)" if llvm.llvm_version_info >= (21,) else "nocapture"


def _declared(module, name: str, kind, memory: str, pointers: dict[int, str]):
    """Declare a function that is compiled once, by itself; `pointers`: what else is known of those
    arguments, which it does not keep."""
    known = module.globals.get(name)
    if known is not None:
        return known
    f = ir.Function(module, kind, name)
    for attribute in ("nounwind", "willreturn", f"memory(argmem: {memory})"):
        set.add(f.attributes, attribute)
    for k, attribute in pointers.items():
        set.add(f.args[k].attributes, NOT_KEPT)
        set.add(f.args[k].attributes, attribute)
    return f


def reduction(module, word: str):
    """Declare the function that combines m elements of a block."""
    stored = STORED[word.split("_")[-1]]
    kind = ir.FunctionType(stored, [stored, stored.as_pointer(), I64])
    return _declared(module, f"graphad_{word}", kind, "read", {1: "readonly"})


def rows_function(module, code):
    """Declare the function of products with many rows."""
    row = STORED[code].as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [row, I64, row, I64, row, I64, I64])
    known = {0: "readonly", 2: "readonly", 4: "writeonly"}
    return _declared(module, f"graphad_rows_{code}", kind, "readwrite", known)


TOGETHER = 4  # rows that share the loads of the other side


def rows_text(code: str) -> str:
    """The module of `rows`: blocks of BLOCK products as in `reduction_text`, one after another,
    TOGETHER rows at a time."""
    stored = STORED[code]
    module = ir.Module("graphad")
    f = rows_function(module, code)
    set.add(f.attributes, '"prefer-vector-width"="512"')
    b = ir.IRBuilder(f.append_basic_block("entry"))
    x_step, count = f.args[1], f.args[6]
    wide = [ir.VectorType(stored, width) for width in LANES]
    places = [[b.alloca(kind) for kind in (stored, stored, *wide)] for _ in range(TOGETHER)]

    def group(first, rows):
        at = b.mul(first, x_step)
        starts = [b.gep(f.args[0], [b.add(at, b.mul(x_step, number(r)))], source_etype=stored)
                  for r in range(rows)]  # fmt: skip
        _dots(b, code, starts, f.args[2], f.args[3], places)
        for r in range(rows):
            k = b.mul(b.add(first, number(r)), f.args[5])
            b.store(b.load(places[r][0], typ=stored), b.gep(f.args[4], [k], source_etype=stored))

    wide = b.udiv(count, number(TOGETHER))
    counted(b, number(0), wide, lambda n: group(b.mul(n, number(TOGETHER)), TOGETHER))
    counted(b, b.mul(wide, number(TOGETHER)), count, lambda n: group(n, 1))
    b.ret_void()
    return str(module)


def _dots(b, code, rows, y, m, places):
    """The products of some rows with y, each into the first of its places."""
    stored = STORED[code]
    zero = ir.Constant(stored, 0.0)

    def each(kind, at, place, start=False):
        other = _reader(b, code, kind, b.ptrtoint(y, I64))(at)
        for row, own in zip(rows, places, strict=False):
            product = b.fmul(_reader(b, code, kind, b.ptrtoint(row, I64))(at), other)
            if not start:
                product = b.fadd(b.load(own[place], typ=kind), product)
            b.store(product, own[place])

    def lanes(place, width, first, stop):
        kind = ir.VectorType(stored, width)
        rounds = b.udiv(b.sub(stop, first), number(width))
        with b.if_then(b.icmp_signed(">", rounds, number(0))):
            each(kind, first, place, start=True)
            counted(b, number(1), rounds,
                    lambda k: each(kind, b.add(first, b.mul(k, number(width))), place))  # fmt: skip
            for _, own in zip(rows, places, strict=False):
                total = _tree(b, "sum", code, b.load(own[place], typ=kind))
                b.store(b.fadd(b.load(own[1], typ=stored), total), own[1])
        return b.add(first, b.mul(rounds, number(width)))

    def block(n):
        first = b.mul(n, number(BLOCK))
        left = b.sub(m, first)
        size = b.select(b.icmp_signed("<", left, number(BLOCK)), left, number(BLOCK))
        stop = b.add(first, size)
        for _, own in zip(rows, places, strict=False):
            b.store(zero, own[1])
        for place, width in enumerate(LANES, 2):
            first = lanes(place, width, first, stop)
        counted(b, first, stop, lambda k: each(stored, k, 1))
        for _, own in zip(rows, places, strict=False):
            total = b.fadd(b.load(own[0], typ=stored), b.load(own[1], typ=stored))
            b.store(total, own[0])

    for _, own in zip(rows, places, strict=False):
        b.store(zero, own[0])
    blocks = b.udiv(b.add(m, number(BLOCK - 1)), number(BLOCK))
    counted(b, number(0), blocks, block)


def columns_function(module, code, weighted):
    """Declare the function of sums over rows."""
    row = STORED[code].as_pointer()
    kinds = [row, I64] * (1 + weighted) + [I64, row, I64]
    apart = {k: "noalias" for k, kind in enumerate(kinds) if kind == row}
    name = f"graphad_{'weighted_' * weighted}columns_{code}"
    return _declared(module, name, ir.FunctionType(ir.VoidType(), kinds), "readwrite", apart)


COLUMNS_TOGETHER = 8  # rows that are added to a piece of the result before it is stored


def columns_text(name: str) -> str:
    """The module of `columns`."""
    code, weighted = name[-2:], name.startswith("weighted")
    stored, width = STORED[code], 64 // int(name[-1])
    module = ir.Module("graphad")
    f = columns_function(module, code, weighted)
    set.add(f.attributes, '"prefer-vector-width"="512"')
    b = ir.IRBuilder(f.append_basic_block("entry"))
    x, x_step, m, out, count = f.args[0], f.args[1], f.args[-3], f.args[-2], f.args[-1]
    zero = ir.Constant(stored, 0.0)

    def at(base, k):
        return b.gep(base, [k], source_etype=stored)

    def pieces(rows, weights, kind, first, last, scale):
        """Add the rows to the result, a piece at a time."""

        def piece(n):
            k = b.mul(n, number(scale))
            place = b.bitcast(at(out, k), kind.as_pointer())
            total: Any = b.load(place, typ=kind)
            total.align = int(code[1])
            for row, weight in zip(rows, weights, strict=True):
                value: Any = b.load(b.bitcast(at(row, k), kind.as_pointer()), typ=kind)
                value.align = int(code[1])
                total = b.fadd(total, b.fmul(value, weight) if weighted else value)
            stored_at: Any = b.store(total, place)
            stored_at.align = int(code[1])

        counted(b, first, last, piece)

    def group(first, size):
        rows = [at(x, b.mul(b.add(first, number(r)), x_step)) for r in range(size)]
        weights: list[Any] = [None] * size
        if weighted:
            y, y_step = f.args[2], f.args[3]
            weights = [b.load(at(y, b.mul(b.add(first, number(r)), y_step)), typ=stored)
                       for r in range(size)]  # fmt: skip
        vector = ir.VectorType(stored, width)
        spread = weights
        if weighted:
            spots = ir.Constant(ir.VectorType(I32, width), [0] * width)
            none = ir.Constant(vector, ir.Undefined)
            spread = [b.shuffle_vector(b.insert_element(none, w, ir.Constant(I32, 0)), none, spots)
                      for w in weights]  # fmt: skip
        wide = b.udiv(count, number(width))
        pieces(rows, spread, vector, number(0), wide, width)
        pieces(rows, weights, stored, b.mul(wide, number(width)), count, 1)

    counted(b, number(0), count, lambda k: b.store(zero, at(out, k)))
    whole = b.udiv(m, number(COLUMNS_TOGETHER))
    counted(b, number(0), whole,
            lambda n: group(b.mul(n, number(COLUMNS_TOGETHER)), COLUMNS_TOGETHER))  # fmt: skip
    counted(b, b.mul(whole, number(COLUMNS_TOGETHER)), m, lambda n: group(n, 1))
    b.ret_void()
    return str(module)


def reduction_text(name: str) -> str:
    """The module of a reduction: LANES at a time, each then a tree of halves, then the rest; a
    chain is one after another.

    The order is part of graphad's promise of equal bits (docs/design.md, "Sums").
    """
    if name.startswith("rows_"):
        return rows_text(name.removeprefix("rows_"))
    if "columns" in name:
        return columns_text(name)
    chain, kind, code = "chain_" in name, *name.split("_")[-2:]
    stored = STORED[code]
    module = ir.Module("graphad")
    f = reduction(module, name)
    set.add(f.attributes, '"prefer-vector-width"="512"')
    b = ir.IRBuilder(f.append_basic_block("entry"))
    first, base, m = f.args
    address = b.ptrtoint(base, I64)
    out = b.alloca(stored)
    spaces = [b.alloca(ir.VectorType(stored, width)) for width in LANES]
    b.store(first, out)

    def onto(value):
        b.store(_combine(b, kind, code, b.load(out, typ=stored), value), out)

    done: Any = number(0)
    for width, lanes in zip(() if chain else LANES, spaces, strict=False):
        vector = ir.VectorType(stored, width)
        done = _in_lanes(b, kind, code, _reader(b, code, vector, address), done, m, lanes, onto)
    counted(b, done, m, lambda k: onto(b.load(element(b, stored, address, k), typ=stored)))
    b.ret(b.load(out, typ=stored))
    return str(module)


def _reader(b, code, kind, address):
    """What loads a vector from the k-th element on."""

    def read(k):
        place = b.add(address, b.mul(k, number(int(code[1]))))
        got: Any = b.load(element(b, kind, place, number(0)), typ=kind)
        got.align = int(code[1])
        return got

    return read


def _in_lanes(b, kind, code, read, first, stop, lanes, onto):
    """Combine from `first` on as many elements as fill lanes, in the memory `lanes`, and give what
    the lanes come to to `onto`; the element after the last."""
    vector = lanes.allocated_type
    width = vector.count
    rounds = b.udiv(b.sub(stop, first), number(width))

    def more(k):
        value = read(b.add(first, b.mul(k, number(width))))
        b.store(_combine(b, kind, code, b.load(lanes, typ=vector), value), lanes)

    with b.if_then(b.icmp_signed(">", rounds, number(0))):
        b.store(read(first), lanes)
        counted(b, number(1), rounds, more)
        onto(_tree(b, kind, code, b.load(lanes, typ=vector)))
    return b.add(first, b.mul(rounds, number(width)))


def _tree(b, kind, code, lanes):
    width = lanes.type.count
    while width > 1:
        width //= 2
        low = ir.Constant(ir.VectorType(I32, width), list(range(width)))
        high = ir.Constant(ir.VectorType(I32, width), list(range(width, 2 * width)))
        x, y = b.shuffle_vector(lanes, lanes, low), b.shuffle_vector(lanes, lanes, high)
        lanes = _combine(b, kind, code, x, y)
    return b.extract_element(lanes, ir.Constant(I32, 0))
