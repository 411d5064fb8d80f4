"""The words that kernel sources are written in: each is a few LLVM instructions.

A kernel is `kernel(table, start, stop) -> status`. `table` is the address of an array of 64-bit
integers: addresses of operands, dims and strides. Addresses are plain integers. Loads and stores
of different operands carry alias metadata, which is what lets LLVM vectorise a body with many
operands without run-time overlap checks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from graphad.emit import real, vecmath, vecspecial
from graphad.emit.kernel import BLOCK, LANES
from graphad.runtime import functions

I64 = ir.IntType(64)
I32 = ir.IntType(32)

STORED = {"f8": ir.DoubleType(), "f4": ir.FloatType(), "b1": ir.IntType(8)} | {
    f"{c}{n}": ir.IntType(8 * n) for c in "iu" for n in (1, 2, 4, 8)
}
HELD = STORED | {"b1": ir.IntType(1)}  # as a local variable


@dataclass(frozen=True)
class Primitive:
    """A word of the kernel language: dtype codes of its arguments and result, and its code."""

    arguments: tuple[str, ...]
    result: str | None
    build: Callable[..., Any]


assert vecspecial.BODIES is vecmath.BODIES  # it adds its own there
WORDS: dict[str, Primitive] = {}


def word(arguments: str = "", result: str | None = None, name: str = ""):
    """Declare a word; `arguments` are dtype codes, separated by spaces."""

    def register(build):
        WORDS[name or build.__name__] = Primitive(tuple(arguments.split()), result, build)
        return build

    return register


def number(n: int):
    """A 64-bit integer constant."""
    return ir.Constant(I64, n)


def element(b, stored, address, index):
    """A pointer to an element of an array."""
    return b.gep(b.inttoptr(address, stored.as_pointer()), [index], source_etype=stored)


def declared(b, name, result, arguments):
    """A C function of this signature in the module being built."""
    return real.declared(b.module, name, ir.FunctionType(result, arguments))


# -- loads and stores ----------------------------------------------------------------------------
def _alias_metadata(module):
    """(list of the scope of loads, list of the scope of stores), made once a module."""
    known = getattr(module, "_graphad_scopes", None)
    if known is None:
        domain = module.add_metadata(["graphad"])
        loads = module.add_metadata([module.add_metadata(["loads", domain])])
        stores = module.add_metadata([module.add_metadata(["stores", domain])])
        known = module._graphad_scopes = (loads, stores)
    return known


def _scoped(b, instruction, is_load):
    own, other = _alias_metadata(b.module)[:: 1 if is_load else -1]
    instruction.set_metadata("alias.scope", own)
    instruction.set_metadata("noalias", other)


def _make_load(code, scoped):
    stored = STORED[code]

    def load(b, address, index):
        value = b.load(element(b, stored, address, index), typ=stored)
        if scoped:
            _scoped(b, value, True)
        if code == "b1":
            return b.icmp_unsigned("!=", value, ir.Constant(stored, 0))
        return value

    return load


def _make_store(code, scoped):
    stored = STORED[code]

    def store(b, address, index, value):
        value = b.zext(value, stored) if code == "b1" else value
        instruction = b.store(value, element(b, stored, address, index))
        if scoped:
            _scoped(b, instruction, False)

    return store


def _make_block(code):
    """A stack buffer of BLOCK elements, as an address."""

    def block(b):
        with b.goto_entry_block():
            buffer = b.alloca(ir.ArrayType(STORED[code], BLOCK))
            buffer.align = 64
        return b.ptrtoint(buffer, I64)

    return block


# -- reductions of a block -----------------------------------------------------------------------
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


def counted(b, start, stop, body):
    """A loop over integers; body(k) appends its instructions."""
    before = b.block
    head, inside, after = (b.append_basic_block(n) for n in ("head", "body", "after"))
    b.branch(head)
    b.position_at_end(head)
    k = b.phi(I64)
    k.add_incoming(start, before)
    b.cbranch(b.icmp_signed("<", k, stop), inside, after)
    b.position_at_end(inside)
    body(k)
    k.add_incoming(b.add(k, number(1), flags=("nsw",)), b.block)
    b.branch(head)
    b.position_at_end(after)


KINDS = [c + k for c in ("", "chain_") for k in ("sum", "prod", "max", "min")]
NOT_KEPT = "captures(none)" if llvm.llvm_version_info >= (21,) else "nocapture"


def reduction(module, word: str):
    """Declare the function that combines m elements of a block; it is compiled once, by itself."""
    name, code = f"graphad_{word}", word.split("_")[-1]
    known = module.globals.get(name)
    if known is not None:
        return known
    stored = STORED[code]
    f = ir.Function(module, ir.FunctionType(stored, [stored, stored.as_pointer(), I64]), name)
    set.add(f.attributes, "nounwind")
    set.add(f.attributes, "willreturn")
    set.add(f.attributes, "memory(argmem: read)")
    set.add(f.args[1].attributes, NOT_KEPT)
    set.add(f.args[1].attributes, "readonly")
    return f


def _make_reduce(kind, code):
    def reduce(b, first, address, m):
        f = reduction(b.module, f"{kind}_{code}")
        return b.call(f, [first, b.inttoptr(address, STORED[code].as_pointer()), m])

    return reduce


def _make_rows(code):
    def rows(b, x, i, x_step, y, j, m, out, k, out_step, count):
        """out[k + r * out_step] = the sum of x[i + r * x_step + n] * y[j + n] over n < m, for every
        r < count, in the order of sums."""
        places = [element(b, STORED[code], p, at) for p, at in ((x, i), (y, j), (out, k))]
        f = rows_function(b.module, code)
        b.call(f, [places[0], x_step, places[1], m, places[2], out_step, count])

    return rows


def rows_function(module, code):
    """Declare the function of products with many rows; it is compiled once, by itself."""
    name, stored = f"graphad_rows_{code}", STORED[code]
    known = module.globals.get(name)
    if known is not None:
        return known
    row = stored.as_pointer()
    kinds = [row, I64, row, I64, row, I64, I64]
    f = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
    for attribute in ("nounwind", "willreturn", "memory(argmem: readwrite)"):
        set.add(f.attributes, attribute)
    for k in (0, 2, 4):
        set.add(f.args[k].attributes, NOT_KEPT)
        set.add(f.args[k].attributes, "writeonly" if k == 4 else "readonly")
    return f


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
    vector = ir.VectorType(stored, LANES)
    places = [(b.alloca(stored), b.alloca(stored), b.alloca(vector)) for _ in range(TOGETHER)]

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
    vector = ir.VectorType(stored, LANES)
    zero = ir.Constant(stored, 0.0)

    def read(kind, base, first, k):
        address = b.add(b.ptrtoint(base, I64), b.mul(first, number(int(code[1]))))
        value: Any = b.load(element(b, kind, address, k), typ=kind)
        value.align = int(code[1])
        return value

    def each(kind, first, k, place, start=False):
        other = read(kind, y, first, k)
        for row, own in zip(rows, places, strict=False):
            product = b.fmul(read(kind, row, first, k), other)
            if not start:
                product = b.fadd(b.load(own[place], typ=kind), product)
            b.store(product, own[place])

    def block(n):
        first = b.mul(n, number(BLOCK))
        left = b.sub(m, first)
        size = b.select(b.icmp_signed("<", left, number(BLOCK)), left, number(BLOCK))
        rounds = b.udiv(size, number(LANES))
        for _, (_, out, _) in zip(rows, places, strict=False):
            b.store(zero, out)
        with b.if_then(b.icmp_signed(">", rounds, number(0))):
            each(vector, first, number(0), 2, start=True)
            counted(b, number(1), rounds, lambda k: each(vector, first, k, 2))
            for _, (_, out, lanes) in zip(rows, places, strict=False):
                total = _tree(b, "sum", code, b.load(lanes, typ=vector))
                b.store(b.fadd(b.load(out, typ=stored), total), out)
        counted(b, b.mul(rounds, number(LANES)), size, lambda k: each(stored, first, k, 1))
        for _, (whole, out, _) in zip(rows, places, strict=False):
            total = b.fadd(b.load(whole, typ=stored), b.load(out, typ=stored))
            b.store(total, whole)

    for _, (whole, _, _) in zip(rows, places, strict=False):
        b.store(zero, whole)
    blocks = b.udiv(b.add(m, number(BLOCK - 1)), number(BLOCK))
    counted(b, number(0), blocks, block)


def _make_columns(code, weighted):
    def columns(b, x, i, x_step, *rest):
        """out[k + n] = the sum over r < m of x[i + r * x_step + n] (times y[j + r * y_step]), for
        every n < count, one row after another."""
        places = [element(b, STORED[code], x, i), x_step]
        if weighted:
            y, j, y_step, *rest = rest
            places += [element(b, STORED[code], y, j), y_step]
        m, out, k, count = rest
        f = columns_function(b.module, code, weighted)
        b.call(f, [*places, m, element(b, STORED[code], out, k), count])

    return columns


def columns_function(module, code, weighted):
    """Declare the function of sums over rows; it is compiled once, by itself."""
    name, stored = f"graphad_{'weighted_' * weighted}columns_{code}", STORED[code]
    known = module.globals.get(name)
    if known is not None:
        return known
    row = stored.as_pointer()
    kinds = [row, I64] * (1 + weighted) + [I64, row, I64]
    f = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
    for attribute in ("nounwind", "willreturn", "memory(argmem: readwrite)"):
        set.add(f.attributes, attribute)
    for k, kind in enumerate(kinds):
        if kind == row:
            set.add(f.args[k].attributes, NOT_KEPT)
            set.add(f.args[k].attributes, "noalias")
    return f


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
    """The module of a reduction: LANES at a time, then a tree of halves, then the rest; a chain is
    one after another.

    The order is part of graphad's promise of equal bits (docs/design.md, "Sums").
    """
    if name.startswith("rows_"):
        return rows_text(name.removeprefix("rows_"))
    if "columns" in name:
        return columns_text(name)
    chain, kind, code = "chain_" in name, *name.split("_")[-2:]
    stored = STORED[code]
    vector = ir.VectorType(stored, LANES)
    module = ir.Module("graphad")
    f = reduction(module, name)
    set.add(f.attributes, '"prefer-vector-width"="512"')
    b = ir.IRBuilder(f.append_basic_block("entry"))
    first, base, m = f.args
    address = b.ptrtoint(base, I64)
    out, lanes = b.alloca(stored), b.alloca(vector)
    b.store(first, out)
    rounds = b.udiv(m, number(LANES))

    def wide(k):
        got: Any = b.load(element(b, vector, address, k), typ=vector)
        got.align = int(code[1])
        return got

    def add_lanes(k):
        b.store(_combine(b, kind, code, b.load(lanes, typ=vector), wide(k)), lanes)

    def add_one(k):
        value = b.load(element(b, stored, address, k), typ=stored)
        b.store(_combine(b, kind, code, b.load(out, typ=stored), value), out)

    if chain:
        rounds = number(0)
    with b.if_then(b.icmp_signed(">", rounds, number(0))):
        b.store(wide(number(0)), lanes)
        counted(b, number(1), rounds, add_lanes)
        total = _tree(b, kind, code, b.load(lanes, typ=vector))
        b.store(_combine(b, kind, code, b.load(out, typ=stored), total), out)
    counted(b, b.mul(rounds, number(LANES)), m, add_one)
    b.ret(b.load(out, typ=stored))
    return str(module)


def _tree(b, kind, code, lanes):
    width = LANES
    while width > 1:
        width //= 2
        low = ir.Constant(ir.VectorType(I32, width), list(range(width)))
        high = ir.Constant(ir.VectorType(I32, width), list(range(width, 2 * width)))
        x, y = b.shuffle_vector(lanes, lanes, low), b.shuffle_vector(lanes, lanes, high)
        lanes = _combine(b, kind, code, x, y)
    return b.extract_element(lanes, ir.Constant(I32, 0))


@word()
def wide_vectors(b):
    """Let LLVM use 512-bit vectors in this function where the CPU has them."""
    if llvm.get_host_cpu_features().get("avx512f"):
        set.add(b.function.attributes, '"prefer-vector-width"="512"')


# -- tables, calls and memory: the executor's words ----------------------------------------------
POINTER = ir.IntType(8).as_pointer()
KERNEL = ir.FunctionType(I64, [I64, I64, I64])


@word("i8 i8", "i8")
def integer(b, table, k):
    """The k-th integer of a table."""
    return b.load(element(b, I64, table, k), typ=I64)


@word("i8 i8 i8")
def put(b, table, k, value):
    """table[k] = value."""
    b.store(value, element(b, I64, table, k))


@word("i8 i8", "i8")
def slot(b, table, k):
    """The table from its k-th slot."""
    return b.add(table, b.shl(k, number(3)))


@word("i8 i8 i8", "i8")
def exchange(b, table, k, value):
    """table[k], value = value, table[k] in one atomic step."""
    return b.atomic_rmw("xchg", element(b, I64, table, k), value, "seq_cst")


@word("i8 i8 i8 i8", "i8")
def call_kernel(b, address, table, start, stop):
    """Call a kernel by address; its status."""
    return b.call(b.inttoptr(address, KERNEL.as_pointer()), [table, start, stop])


def _make_invoke(count):
    """Call a C function of so many integers or addresses that returns one."""

    def invoke(b, address, *values):
        kind = ir.FunctionType(I64, [I64] * count)
        return b.call(b.inttoptr(address, kind.as_pointer()), values)

    return invoke


for _n in range(10):
    WORDS[f"invoke{_n}"] = Primitive(("i8",) * (_n + 1), "i8", _make_invoke(_n))


@word("i8", "i8")
def stack(b, size):
    """Memory for this call, of a constant number of bytes; its address."""
    with b.goto_entry_block():
        buffer = b.alloca(ir.ArrayType(ir.IntType(8), size.constant))
        buffer.align = 64
    return b.ptrtoint(buffer, I64)


@word("i8 i8 i8", "b1")
def start_thread(b, function, argument, semaphore):
    """Make a semaphore and a thread that runs function(argument); whether both could be made."""
    initialise = declared(b, "sem_init", I32, [I64, I32, I32])
    create = declared(b, "pthread_create", I32, [I64] * 4)
    detach = declared(b, "pthread_detach", I32, [I64])
    with b.goto_entry_block():
        handle = b.alloca(I64)
    nothing, fine = ir.Constant(I32, 0), ir.Constant(I32, 0)
    without = b.icmp_signed("!=", b.call(initialise, [semaphore, nothing, nothing]), fine)
    with b.goto_entry_block():
        made = b.alloca(ir.IntType(1))
    b.store(ir.Constant(ir.IntType(1), 0), made)
    with b.if_then(b.not_(without)):
        at = b.ptrtoint(handle, I64)
        failed = b.call(create, [at, number(0), function, argument])
        with b.if_then(b.icmp_signed("==", failed, fine)):
            b.call(detach, [b.load(handle, typ=I64)])
            b.store(ir.Constant(ir.IntType(1), 1), made)
    return b.load(made, typ=ir.IntType(1))


def _make_semaphore(name):
    def call(b, semaphore):
        b.call(declared(b, name, I32, [I64]), [semaphore])

    return call


for _n in ("wait", "post"):
    WORDS[f"semaphore_{_n}"] = Primitive(("i8",), None, _make_semaphore(f"sem_{_n}"))


@word("", "i8")
def process_number(b):
    """The number of this process."""
    return b.sext(b.call(declared(b, "getpid", I32, []), []), I64)


@word()
def let_others_run(b):
    """Give the core away for a moment."""
    b.call(declared(b, "sched_yield", I32, []), [])


@word()
def pause(b):
    """Tell the core that this is a busy wait."""
    if llvm.get_process_triple().startswith("x86"):
        b.call(declared(b, "llvm.x86.sse2.pause", ir.VoidType(), []), [])


@word("i8 i8", "i8")
def atomic_read(b, table, k):
    """table[k], and all that was written before it."""
    return b.load_atomic(element(b, I64, table, k), "acquire", 8, typ=I64)


@word("i8 i8 i8")
def atomic_write(b, table, k, value):
    """table[k] = value, after all that was written before."""
    b.store_atomic(value, element(b, I64, table, k), "release", 8)


@word("i8 i8 i8 i8", "i8")
def compare_exchange(b, table, k, expected, value):
    """table[k] = value if it is as expected, in one atomic step; what it was."""
    at = element(b, I64, table, k)
    return b.extract_value(b.cmpxchg(at, expected, value, "seq_cst", "seq_cst"), 0)


@word("i8 i8")
def call_product(b, address, table):
    """Call BLAS ?gemm, whose 13 arguments are pointers that stand in the table from slot 0."""
    kind = ir.FunctionType(ir.VoidType(), [I64] * 13)
    values = [integer(b, table, number(k)) for k in range(13)]
    b.call(b.inttoptr(address, kind.as_pointer()), values)


@word("i8", "i8")
def allocate(b, size):
    """malloc, as an address; 0 when there is no memory."""
    return b.call(declared(b, "malloc", I64, [I64]), [size])


@word("i8")
def release(b, address):
    """free."""
    b.call(declared(b, "free", ir.VoidType(), [I64]), [address])


@word("i8 i8 i8")
def copy_bytes(b, to, source, size):
    """memcpy."""
    b.call(declared(b, "memcpy", I64, [I64, I64, I64]), [to, source, size])


@word("i8 i8")
def fill_zero(b, to, size):
    """memset to zero."""
    b.call(declared(b, "memset", I64, [I64, I32, I64]), [to, ir.Constant(I32, 0), size])


# -- mathematics ---------------------------------------------------------------------------------
def _make_body(name, code):
    """A call of an arithmetic body, which is defined once a module and inlined."""

    def call(b, *values):
        return b.call(vecmath.defined(b.module, name, code), values)

    return call


def _make_llvm(name, code):
    """One of LLVM's own functions, an instruction where the CPU has it."""

    def call(b, *values):
        kind = STORED[code]
        suffix = "f64" if code == "f8" else "f32"
        f = declared(b, f"llvm.{name}.{suffix}", kind, [kind] * len(values))
        return b.call(f, values)

    return call


def _make_special(name, count):
    """A scalar function by its symbol; SciPy's have one more argument, which is of no use here."""

    def call(b, *values):
        kinds, extra = [STORED["f8"]] * count, []
        if name in functions.SCIPY:
            kinds, extra = [*kinds, I32], [ir.Constant(I32, 0)]
        f = declared(b, functions.symbol_of(name), STORED["f8"], kinds)
        for attribute in ("nounwind", "willreturn", "memory(none)"):
            set.add(f.attributes, attribute)
        return b.call(f, [*values, *extra])

    return call


for _n, _count in functions.ARITY.items():
    WORDS[f"special_{_n}"] = Primitive(("f8",) * _count, "f8", _make_special(_n, _count))


def _make_lapack(name, count):
    """A function of BLAS or LAPACK: all its arguments are addresses."""

    def call(b, *values):
        b.call(declared(b, functions.lapack_symbol(name), ir.VoidType(), [I64] * count), values)

    return call


for _n, _count in functions.LAPACK.items():
    for _prefix in "ds":
        _name = f"{_prefix}{_n}"
        WORDS[f"lapack_{_name}"] = Primitive(("i8",) * _count, None, _make_lapack(_name, _count))


def _typed_words():
    for code in STORED:
        WORDS[f"load_{code}"] = Primitive(("i8", "i8"), code, _make_load(code, True))
        WORDS[f"peek_{code}"] = Primitive(("i8", "i8"), code, _make_load(code, False))
        WORDS[f"store_{code}"] = Primitive(("i8", "i8", code), None, _make_store(code, True))
        WORDS[f"keep_{code}"] = Primitive(("i8", "i8", code), None, _make_store(code, False))
        WORDS[f"block_{code}"] = Primitive((), "i8", _make_block(code))
        if code == "b1":
            continue
        for kind in KINDS:
            WORDS[f"{kind}_{code}"] = Primitive((code, "i8", "i8"), code, _make_reduce(kind, code))
    for code in ("f8", "f4"):
        WORDS[f"rows_{code}"] = Primitive(("i8",) * 10, None, _make_rows(code))
        WORDS[f"columns_{code}"] = Primitive(("i8",) * 7, None, _make_columns(code, False))
        WORDS[f"weighted_columns_{code}"] = Primitive(("i8",) * 10, None, _make_columns(code, True))
        for name, body in vecmath.BODIES.items():
            count = body.__code__.co_argcount
            WORDS[f"{name}_{code}"] = Primitive((code,) * count, code, _make_body(name, code))
        for name in ("sqrt", "floor", "ceil", "rint", "trunc"):
            WORDS[f"{name}_{code}"] = Primitive((code,), code, _make_llvm(name, code))
        WORDS[f"copysign_{code}"] = Primitive((code, code), code, _make_llvm("copysign", code))


_typed_words()
