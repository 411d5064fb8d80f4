"""Functions of blocks of elements, compiled once and found by their symbol: reductions, products of
many rows with one, sums of rows.
"""

from __future__ import annotations

import re
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from graphad.compile.instructions import I32, I64, STORED, counted, element, number
from graphad.emit.target import Module, Target
from graphad.lower.order import BLOCK, LANES


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


def is_block_function(word: str) -> bool:
    """Whether a word of kernels is compiled once, by itself."""
    return _WORDS.fullmatch(word) is not None


_WORDS = re.compile(
    r"(?:chain_)?(?:sum|prod|max|min)_[fiu][1248]|(?:rows|(?:weighted_)?columns)_(?:\d+_)?f[48]"
)
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
        for word in attribute.split():
            set.add(f.args[k].attributes, word)
    return f


def reduction(module, word: str):
    """Declare the function that combines m elements of a block."""
    stored = STORED[word.split("_")[-1]]
    kind = ir.FunctionType(stored, [stored, stored.as_pointer(), I64])
    return _declared(module, f"graphad_{word}", kind, "read", {1: "readonly"})


def rows_function(module, word):
    """Declare the function of products with many rows: `rows_f8`, or `rows_64_f8` for rows of 64,
    which needs no loops for what does not fill vectors."""
    row = STORED[word[-2:]].as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [row, I64, row, I64, row, I64, I64])
    known = {0: "readonly noalias", 2: "readonly noalias", 4: "writeonly noalias"}
    return _declared(module, f"graphad_{word}", kind, "readwrite", known)


TOGETHER, SHORT_TOGETHER, SHORT = (
    4,
    8,
    64,
)  # rows that share the loads of the other side; short ones


def rows_text(word: str, target: Target) -> str:
    """The module of `rows`: blocks of BLOCK products as in `reduction_text`, one after another,
    some rows at a time."""
    module = Module(target)
    f = rows_function(module, word)
    set.add(f.attributes, '"prefer-vector-width"="512"')
    b = ir.IRBuilder(f.append_basic_block("entry"))
    size = word.split("_")[1]
    m = number(int(size)) if size.isdigit() else f.args[3]
    short = size.isdigit() and int(size) <= SHORT and target.bits == 512
    together = number(SHORT_TOGETHER if short else TOGETHER)
    many, one = _Rows(f, b, word[-2:], m, together.constant), _Rows(f, b, word[-2:], m, 1)
    wide = b.udiv(f.args[6], together)
    counted(b, number(0), wide, lambda n: many.write(b.mul(n, together)))
    counted(b, b.mul(wide, together), f.args[6], one.write)
    b.ret_void()
    return str(module)


class _Rows:
    """Writes the products of so many rows with one row."""

    def __init__(self, f, b, code: str, m, count: int):
        self.f, self.b, self.code, self.m, self.count = f, b, code, m, count
        self.item = STORED[code]
        self.each = self.item if count == 1 else ir.VectorType(self.item, count)
        self.total, self.part = b.alloca(self.each), b.alloca(self.each)
        self.lanes = {width: [b.alloca(ir.VectorType(self.item, width)) for _ in range(count)]
                      for width in LANES}  # fmt: skip
        self.zero = ir.Constant(self.each, [0.0] * count if count > 1 else 0.0)

    def write(self, first):
        """The products of the rows from first on."""
        b = self.b
        starts = [b.mul(b.add(first, number(r)), self.f.args[1]) for r in range(self.count)]
        self.rows = [b.gep(self.f.args[0], [s], source_etype=self.item) for s in starts]
        b.store(self.zero, self.total)
        blocks = b.udiv(b.add(self.m, number(BLOCK - 1)), number(BLOCK))
        counted(b, number(0), blocks, self.block)
        self.put(first, b.load(self.total, typ=self.each))

    def block(self, n):
        """Add a block of products to the total: in lanes, then one by one."""
        b = self.b
        first = b.mul(n, number(BLOCK))
        left = b.sub(self.m, first)
        size = b.select(b.icmp_signed("<", left, number(BLOCK)), left, number(BLOCK))
        stop = b.add(first, size)
        b.store(self.zero, self.part)
        for width in LANES:
            first = self.in_lanes(width, first, stop)
        counted(
            b, first, stop, lambda k: self.onto(self.part, self.joined(self.products(self.item, k)))
        )
        self.onto(self.total, b.load(self.part, typ=self.each))

    def in_lanes(self, width: int, first, stop):
        """As many products as fill lanes; where they end."""
        b, kind, places = self.b, ir.VectorType(self.item, width), self.lanes[width]
        rounds = b.udiv(b.sub(stop, first), number(width))

        def more(k):
            at = b.add(first, b.mul(k, number(width)))
            for place, product in zip(places, self.products(kind, at), strict=True):
                b.store(b.fadd(b.load(place, typ=kind), product), place)

        with b.if_then(b.icmp_signed(">", rounds, number(0))):
            for place, product in zip(places, self.products(kind, first), strict=True):
                b.store(product, place)
            counted(b, number(1), rounds, more)
            self.onto(self.part, _trees(b, [b.load(p, typ=kind) for p in places]))
        return b.add(first, b.mul(rounds, number(width)))

    def products(self, kind, k) -> list:
        """Of each row with the other side, from the k-th element on."""
        b = self.b
        other, *rows = (_reader(b, self.code, kind, b.ptrtoint(p, I64))(k)
                        for p in (self.f.args[2], *self.rows))  # fmt: skip
        return [b.fmul(row, other) for row in rows]

    def joined(self, values: list):
        """Numbers of the rows as one value."""
        if len(values) == 1:
            return values[0]
        out = ir.Constant(self.each, ir.Undefined)
        for k, value in enumerate(values):
            out = self.b.insert_element(out, value, ir.Constant(I32, k))
        return out

    def onto(self, place, value):
        """Add to what stands at a place."""
        self.b.store(self.b.fadd(self.b.load(place, typ=self.each), value), place)

    def put(self, first, totals):
        """Store the totals: together where they are neighbours, so that they can be read together
        at once."""
        b, (out, step) = self.b, self.f.args[4:6]

        def at(r):
            return b.gep(out, [b.mul(b.add(first, number(r)), step)], source_etype=self.item)

        if self.count == 1:
            b.store(totals, at(0))
            return
        with b.if_else(b.icmp_signed("==", step, number(1))) as (near, far):
            with near:
                stored: Any = b.store(totals, b.bitcast(at(0), self.each.as_pointer()))
                stored.align = int(self.code[1])
            with far:
                for r in range(self.count):
                    b.store(b.extract_element(totals, ir.Constant(I32, r)), at(r))


def columns_function(module, word):
    """Declare the function of sums over rows: `columns_f8`, `columns_64_f8` for rows of 64, which
    stay in registers, and both `weighted_`."""
    row, weighted = STORED[word[-2:]].as_pointer(), word.startswith("weighted")
    kinds = [row, I64] * (1 + weighted) + [I64, row, I64]
    apart = {k: "noalias" for k, kind in enumerate(kinds) if kind == row}
    kind = ir.FunctionType(ir.VoidType(), kinds)
    return _declared(module, f"graphad_{word}", kind, "readwrite", apart)


COLUMNS_TOGETHER = 8  # rows that are added to a piece of the result before it is stored


def columns_text(word: str, target: Target) -> str:
    """The module of `columns`."""
    module = Module(target)
    f = columns_function(module, word)
    set.add(f.attributes, '"prefer-vector-width"="512"')
    columns = _Columns(f, ir.IRBuilder(f.append_basic_block("entry")), word)
    if word.split("_")[-2].isdigit():
        columns.kept(int(word.split("_")[-2]))
    else:
        columns.stored()
    columns.b.ret_void()
    return str(module)


class _Columns:
    """Writes sums over rows, one row after another."""

    def __init__(self, f, b, word: str):
        self.b, self.f = b, f
        self.weighted = word.startswith("weighted")
        self.item = STORED[word[-2:]]
        self.bytes = int(word[-1])
        self.width = 64 // self.bytes
        self.vector = ir.VectorType(self.item, self.width)
        self.x, self.x_step = f.args[:2]
        self.m, self.out, self.count = f.args[-3:]

    def at(self, base, k):
        """The address of the k-th element."""
        return self.b.gep(base, [k], source_etype=self.item)

    def load(self, base, k, kind):
        """A piece of a row."""
        value: Any = self.b.load(self.b.bitcast(self.at(base, k), kind.as_pointer()), typ=kind)
        value.align = self.bytes
        return value

    def store(self, value, k):
        """A piece of the result."""
        place = self.b.bitcast(self.at(self.out, k), value.type.as_pointer())
        done: Any = self.b.store(value, place)
        done.align = self.bytes

    def row(self, r):
        """The address of a row, and its weight, if rows have some."""
        row = self.at(self.x, self.b.mul(r, self.x_step))
        if not self.weighted:
            return row, None
        y, y_step = self.f.args[2:4]
        return row, self.b.load(self.at(y, self.b.mul(r, y_step)), typ=self.item)

    def spread(self, weight):
        """A weight in every lane."""
        if weight is None:
            return None
        none = ir.Constant(self.vector, ir.Undefined)
        spots = ir.Constant(ir.VectorType(I32, self.width), [0] * self.width)
        one = self.b.insert_element(none, weight, ir.Constant(I32, 0))
        return self.b.shuffle_vector(one, none, spots)

    def added(self, total, row, weight, k, kind):
        """A piece of the result and that of one row more."""
        value = self.load(row, k, kind)
        return self.b.fadd(total, value if weight is None else self.b.fmul(value, weight))

    def kept(self, count: int):
        """The result stays in registers until the last row."""
        b, places = self.b, range(0, count, self.width)
        totals = [b.alloca(self.vector) for _ in places]
        for total in totals:
            b.store(ir.Constant(self.vector, [0.0] * self.width), total)

        def one(r):
            row, weight = self.row(r)
            weight = self.spread(weight)
            for k, total in zip(places, totals, strict=True):
                before = b.load(total, typ=self.vector)
                b.store(self.added(before, row, weight, number(k), self.vector), total)

        counted(b, number(0), self.m, one)
        for k, total in zip(places, totals, strict=True):
            self.store(b.load(total, typ=self.vector), number(k))

    def stored(self):
        """COLUMNS_TOGETHER rows at a time are added to the result in memory."""
        b, zero, together = self.b, ir.Constant(self.item, 0.0), number(COLUMNS_TOGETHER)
        counted(b, number(0), self.count, lambda k: b.store(zero, self.at(self.out, k)))
        whole = b.udiv(self.m, together)
        counted(b, number(0), whole, lambda n: self.group(b.mul(n, together), COLUMNS_TOGETHER))
        counted(b, b.mul(whole, together), self.m, lambda n: self.group(n, 1))

    def group(self, first, size: int):
        """Add some rows to the result, a piece at a time."""
        b = self.b
        rows = [self.row(b.add(first, number(r))) for r in range(size)]
        wide = b.udiv(self.count, number(self.width))
        vectors = [(row, self.spread(weight)) for row, weight in rows]
        self.pieces(vectors, self.vector, number(0), wide, self.width)
        self.pieces(rows, self.item, b.mul(wide, number(self.width)), self.count, 1)

    def pieces(self, rows, kind, first, last, scale: int):
        """Add rows to the pieces from first to last, of so many elements each."""

        def piece(n):
            k = self.b.mul(n, number(scale))
            total = self.load(self.out, k, kind)
            for row, weight in rows:
                total = self.added(total, row, weight, k, kind)
            self.store(total, k)

        counted(self.b, first, last, piece)


def reduction_text(name: str, target: Target) -> str:
    """The module of a reduction: LANES at a time, each then a tree of halves, then the rest; a
    chain is one after another.

    The order is part of graphad's promise of equal bits (docs/design.md, "Sums").
    """
    if name.startswith("rows_"):
        return rows_text(name, target)
    if "columns" in name:
        return columns_text(name, target)
    chain, kind, code = "chain_" in name, *name.split("_")[-2:]
    stored = STORED[code]
    module = Module(target)
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


def _trees(b, rows: list):
    """What the lanes of each row come to, as `_tree` has it; the rows share its last additions."""
    if len(rows) == 1:
        return _tree(b, "sum", "f", rows[0])
    width = LANES[-1]
    rows = [_tree(b, "sum", "f", r, width) for r in rows]
    each = width  # lanes of a row
    while each > 1:
        if len(rows) > 1:
            pairs = list(zip(rows[::2], rows[1::2], strict=True))
        else:
            pairs = [(rows[0], rows[0])]
        count = rows[0].type.count * len(rows) // len(pairs)
        each //= 2
        low = [k for k in range(count) if k // each % 2 == 0]
        high = [k + each for k in low]
        rows = [b.fadd(*(b.shuffle_vector(x, y, ir.Constant(ir.VectorType(I32, len(p)), p))
                         for p in (low, high))) for x, y in pairs]  # fmt: skip
    return rows[0]


def _tree(b, kind, code, lanes, least: int = 1):
    width = lanes.type.count
    while width > least:
        width //= 2
        low = ir.Constant(ir.VectorType(I32, width), list(range(width)))
        high = ir.Constant(ir.VectorType(I32, width), list(range(width, 2 * width)))
        x, y = b.shuffle_vector(lanes, lanes, low), b.shuffle_vector(lanes, lanes, high)
        lanes = _combine(b, kind, code, x, y)
    return b.extract_element(lanes, ir.Constant(I32, 0)) if least == 1 else lanes
