"""The words that kernel sources are written in: each is a few LLVM instructions.

A kernel is `kernel(table, start, stop) -> status`. `table` is the address of an array of 64-bit
integers: addresses of operands, dims and strides. Addresses are plain integers. Loads and stores
of different operands carry alias metadata, which is what lets LLVM vectorise a body with many
operands without run-time overlap checks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from graphad.bodies import philox, vecgamma, vecmath, vecspecial, vectrig
from graphad.bodies.real import on_cuda
from graphad.compile import functions
from graphad.compile.blocks import KINDS, columns_function, reduction, rows_function
from graphad.compile.instructions import I32, I64, STORED, declared, element, number
from graphad.emit.target import target_of
from graphad.lower.order import BLOCK


@dataclass(frozen=True)
class Primitive:
    """A word of the kernel language: dtype codes of its arguments and result, and its code."""

    arguments: tuple[str, ...]
    result: str | None
    build: Callable[..., Any]


# They add their own there.
assert vecspecial.BODIES is vecgamma.BODIES is vectrig.BODIES is vecmath.BODIES


class _Words(dict[str, Primitive]):
    """The words by their names; those of rows, also of known lengths, are made at need."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or bool(OF_ROWS.fullmatch(str(name)))

    def __missing__(self, name: str) -> Primitive:
        kind = OF_ROWS.fullmatch(name)
        if kind is None:
            raise KeyError(name)
        make, count = (_make_rows, 10) if kind[1] == "rows" else (_make_columns, 7)
        count = 10 if kind[1].startswith("weighted") else count
        made = self[name] = Primitive(("i8",) * count, None, make(name))
        return made


OF_ROWS = re.compile(r"(rows|columns|weighted_columns)_(?:\d+_)?f[48]")
WORDS = _Words()


def word(arguments: str = "", result: str | None = None, name: str = ""):
    """Declare a word; `arguments` are dtype codes, separated by spaces."""

    def register(build):
        WORDS[name or build.__name__] = Primitive(tuple(arguments.split()), result, build)
        return build

    return register


# -- loads and stores ----------------------------------------------------------------------------
MOST_OWN = 16  # addresses of memory that is read and written and that no other address reaches


class _Scopes:
    """What LLVM is told of memory: that what is loaded, what is stored, and what is both, one
    address by one, are different places. Made once a module."""

    def __init__(self, module, own: int):
        domain = module.add_metadata(["graphad"])
        names = ["loads", "stores", *(f"own {k}" for k in range(own))]
        every = [module.add_metadata([name, domain]) for name in names]
        self.own = [module.add_metadata([scope]) for scope in every]
        self.others = [module.add_metadata([s for s in every if s is not scope]) for scope in every]
        self.addresses: dict[Any, int] = {}

    def mark(self, instruction, kind: str, address) -> None:
        """Put the scopes of an access to it."""
        place = {"loads": 0, "stores": 1}.get(kind)
        if place is None:
            place = self.addresses.setdefault(address, len(self.addresses) + 2)
        if place < len(self.own):
            instruction.set_metadata("alias.scope", self.own[place])
            instruction.set_metadata("noalias", self.others[place])


def scopes(module, own: bool = False) -> _Scopes:
    """Those of a module; `own`: whether it has memory that is both read and written."""
    known = getattr(module, "_graphad_scopes", None)
    if known is None:
        known = module._graphad_scopes = _Scopes(module, MOST_OWN if own else 0)
    return known


GLOBAL = 1  # the address space of a GPU's main memory


def _space(b, scope) -> int:
    """The address space of an access: what has a scope is in main memory, where the module says so
    (`nvvm.llvm_of`), since loads from any memory are slower."""
    return GLOBAL if scope and getattr(b.module, "in_main_memory", False) else 0


def _make_load(code, scope):
    stored = STORED[code]

    def load(b, address, index):
        value = b.load(element(b, stored, address, index, _space(b, scope)), typ=stored)
        if scope:
            scopes(b.module).mark(value, scope, address)
        if code == "b1":
            return b.icmp_unsigned("!=", value, ir.Constant(stored, 0))
        return value

    return load


def _make_store(code, scope):
    stored = STORED[code]

    def store(b, address, index, value):
        value = b.zext(value, stored) if code == "b1" else value
        instruction = b.store(value, element(b, stored, address, index, _space(b, scope)))
        if scope:
            scopes(b.module).mark(instruction, scope, address)

    return store


def _make_block(code):
    """A stack buffer of BLOCK elements, as an address."""

    def block(b):
        with b.goto_entry_block():
            buffer = b.alloca(ir.ArrayType(STORED[code], BLOCK))
            buffer.align = 64
        return b.ptrtoint(buffer, I64)

    return block


@word()
def wide_vectors(b):
    """Let LLVM use 512-bit vectors in this function where the CPU has them."""
    if target_of(b.module).bits == 512:
        set.add(b.function.attributes, '"prefer-vector-width"="512"')


# -- functions of blocks (blocks.py) --------------------------------------------------------------
def _make_reduce(kind, code):
    def reduce(b, first, address, m):
        f = reduction(b.module, f"{kind}_{code}")
        return b.call(f, [first, b.inttoptr(address, STORED[code].as_pointer()), m])

    return reduce


def _make_rows(word):
    code = word[-2:]

    def rows(b, x, i, x_step, y, j, m, out, k, out_step, count):
        """out[k + r * out_step] = the sum of x[i + r * x_step + n] * y[j + n] over n < m, for every
        r < count, in the order of sums."""
        places = [element(b, STORED[code], p, at) for p, at in ((x, i), (y, j), (out, k))]
        f = rows_function(b.module, word)
        b.call(f, [places[0], x_step, places[1], m, places[2], out_step, count])

    return rows


def _make_columns(word):
    code, weighted = word[-2:], word.startswith("weighted")

    def columns(b, x, i, x_step, *rest):
        """out[k + n] = the sum over r < m of x[i + r * x_step + n] (times y[j + r * y_step]), for
        every n < count, one row after another."""
        places = [element(b, STORED[code], x, i), x_step]
        if weighted:
            y, j, y_step, *rest = rest
            places += [element(b, STORED[code], y, j), y_step]
        m, out, k, count = rest
        f = columns_function(b.module, word)
        b.call(f, [*places, m, element(b, STORED[code], out, k), count])

    return columns


# -- tables, calls and memory: the executor's words ----------------------------------------------
POINTER = ir.IntType(8).as_pointer()
KERNEL = ir.FunctionType(I64, [I64, I64, I64])


@word("i8 i8", "i8")
def integer(b, table, k):
    """The k-th integer of a table."""
    if not on_cuda(b):
        return b.load(element(b, I64, table, k), typ=I64)
    value = b.load(element(b, I64, table, k, GLOBAL), typ=I64)
    value.set_metadata("invariant.load", b.module.add_metadata([]))  # leaves the loop over steps
    return value


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


@word("b1 i8 i8", "i8")
def either(b, condition, x, y):
    """condition ? x : y without a branch: for what no CPU can guess."""
    chosen = b.select(condition, x, y)
    chosen.set_metadata("unpredictable", b.module.add_metadata([]))
    return chosen


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


@word("", "i8")
def core_number(b):
    """The core that this thread runs on."""
    return b.sext(b.call(declared(b, "sched_getcpu", I32, []), []), I64)


@word("i8")
def leave_core(b, core):
    """Move this thread to another core, if it may use one."""
    size, bits = ir.Constant(I64, 128), ir.ArrayType(I64, 16)
    with b.goto_entry_block():
        allowed, others = b.alloca(bits), b.alloca(bits)
    get = declared(b, "sched_getaffinity", I32, [I32, I64, I64])
    move = declared(b, "sched_setaffinity", I32, [I32, I64, I64])
    here, mine = ir.Constant(I32, 0), [b.ptrtoint(m, I64) for m in (allowed, others)]
    b.call(get, [here, size, mine[0]])
    b.store(b.load(allowed, typ=bits), others)
    word = b.gep(others, [ir.Constant(I64, 0), b.lshr(core, ir.Constant(I64, 6))])
    bit = b.shl(ir.Constant(I64, 1), b.and_(core, ir.Constant(I64, 63)))
    b.store(b.and_(b.load(word, typ=I64), b.not_(bit)), word)
    b.call(move, [here, size, mine[1]])  # fails, and changes nothing, where there is no other
    b.call(move, [here, size, mine[0]])


@word()
def let_others_run(b):
    """Give the core away for a moment."""
    b.call(declared(b, "sched_yield", I32, []), [])


@word()
def pause(b):
    """Tell the core that this is a busy wait."""
    if target_of(b.module).x86:
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
        if code == "f4" and name in LIBDEVICE and on_cuda(b):
            kind = STORED[code]
            return b.call(declared(b, f"__nv_{name}f", kind, [kind] * len(values)), values)
        return b.call(vecmath.defined(b.module, name, code), values)

    return call


# In single precision the GPU has instructions for these: within 2 units (CUDA C++ Programming
# Guide, "Mathematical Functions"), at a third of the time of our bodies.
LIBDEVICE = ("exp", "expm1", "log", "log2", "log1p", "sin", "cos", "tanh", "erf")


def _make_llvm(name, code):
    """One of LLVM's own functions, an instruction where the CPU has it."""

    def call(b, *values):
        kind = STORED[code]
        full = f"llvm.{name}.{'f64' if code == 'f8' else 'f32'}"
        if on_cuda(b) and name == "rint":  # which NVVM does not know
            full = "__nv_rint" if code == "f8" else "__nv_rintf"
        return b.call(declared(b, full, kind, [kind] * len(values)), values)

    return call


def _make_philox(code):
    def call(b, key, stream, index):
        """The random word of an element of a stream."""
        return philox.word(b, code, key, stream, index)

    return call


for _code in philox.RESULTS:
    WORDS[f"philox_{_code}"] = Primitive(("u8",) * 3, _code, _make_philox(_code))


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
        WORDS[f"load_{code}"] = Primitive(("i8", "i8"), code, _make_load(code, "loads"))
        WORDS[f"read_{code}"] = Primitive(("i8", "i8"), code, _make_load(code, "own"))
        WORDS[f"peek_{code}"] = Primitive(("i8", "i8"), code, _make_load(code, ""))
        WORDS[f"store_{code}"] = Primitive(("i8", "i8", code), None, _make_store(code, "stores"))
        WORDS[f"write_{code}"] = Primitive(("i8", "i8", code), None, _make_store(code, "own"))
        WORDS[f"keep_{code}"] = Primitive(("i8", "i8", code), None, _make_store(code, ""))
        WORDS[f"block_{code}"] = Primitive((), "i8", _make_block(code))
        if code == "b1":
            continue
        for kind in KINDS:
            WORDS[f"{kind}_{code}"] = Primitive((code, "i8", "i8"), code, _make_reduce(kind, code))
    for code in ("f8", "f4"):
        for name, body in vecmath.BODIES.items():
            count = body.__code__.co_argcount
            WORDS[f"{name}_{code}"] = Primitive((code,) * count, code, _make_body(name, code))
        for name in ("sqrt", "floor", "ceil", "rint", "trunc"):
            WORDS[f"{name}_{code}"] = Primitive((code,), code, _make_llvm(name, code))
        WORDS[f"copysign_{code}"] = Primitive((code, code), code, _make_llvm("copysign", code))


_typed_words()
MATHEMATICS = frozenset(f"{name}_{code}" for name in vecmath.BODIES for code in ("f8", "f4")) | {
    f"philox_{code}" for code in philox.RESULTS
}
