"""What kernel sources are written in: typed loads and stores through a table of addresses.

A kernel is `kernel(table, start, stop) -> status`. `table` holds the addresses of its operands
and its dims and strides. Loads and stores of different operands carry alias metadata, which is
what lets LLVM vectorise a body with many operands without run-time overlap checks.
"""

from __future__ import annotations

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from graphad.emit import vecmath

I64 = ir.IntType(64)
TABLE = types.CPointer(types.int64)
KERNEL_SIGNATURE = types.int64(TABLE, types.int64, types.int64)
BLOCK = 256
LANES = 32

NUMBA_TYPES = {
    "f8": types.float64, "f4": types.float32, "i8": types.int64, "i4": types.int32,
    "i2": types.int16, "i1": types.int8, "u8": types.uint64, "u4": types.uint32,
    "u2": types.uint16, "u1": types.uint8, "b1": types.boolean,
}  # fmt: skip
_STORED = {"f8": ir.DoubleType(), "f4": ir.FloatType(), "b1": ir.IntType(8)} | {
    f"{c}{n}": ir.IntType(8 * n) for c in "iu" for n in (1, 2, 4, 8)
}


@intrinsic
def integer(typingctx, table, k):
    """The k-th integer of the table."""

    def codegen(context, builder, sig, args):
        return builder.load(builder.gep(args[0], [args[1]]))

    return types.int64(TABLE, types.int64), codegen


def _alias_metadata(module):
    """(list of the scope of loads, list of the scope of stores), made once a module."""
    known = getattr(module, "_graphad_scopes", None)
    if known is None:
        domain = module.add_metadata(["graphad"])
        loads = module.add_metadata([module.add_metadata(["loads", domain])])
        stores = module.add_metadata([module.add_metadata(["stores", domain])])
        known = module._graphad_scopes = (loads, stores)
    return known


def _make_load(code, scoped):
    numba_type, stored = NUMBA_TYPES[code], _STORED[code]

    @intrinsic
    def load(typingctx, pointer, index):
        def codegen(context, builder, sig, args):
            at = builder.gep(builder.inttoptr(args[0], stored.as_pointer()), [args[1]])
            value = builder.load(at)
            if scoped:
                loads, stores = _alias_metadata(builder.module)
                value.set_metadata("alias.scope", loads)
                value.set_metadata("noalias", stores)
            if code == "b1":
                return builder.icmp_unsigned("!=", value, ir.Constant(stored, 0))
            return value

        return numba_type(types.int64, types.int64), codegen

    return load


def _make_store(code, scoped):
    numba_type, stored = NUMBA_TYPES[code], _STORED[code]

    @intrinsic
    def store(typingctx, pointer, index, value):
        def codegen(context, builder, sig, args):
            at = builder.gep(builder.inttoptr(args[0], stored.as_pointer()), [args[1]])
            value = builder.zext(args[2], stored) if code == "b1" else args[2]
            instruction = builder.store(value, at)
            if scoped:
                loads, stores = _alias_metadata(builder.module)
                instruction.set_metadata("alias.scope", stores)
                instruction.set_metadata("noalias", loads)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, numba_type), codegen

    return store


def _make_block(code):
    """A stack buffer of BLOCK elements, as an address."""
    stored = _STORED[code]

    @intrinsic
    def block(typingctx):
        def codegen(context, builder, sig, args):
            with builder.goto_entry_block():
                buffer = builder.alloca(ir.ArrayType(stored, BLOCK))
                buffer.align = 64
            return builder.ptrtoint(buffer, I64)

        return types.int64(), codegen

    return block


def _combine(builder, kind, code, a, b):
    floating = code[0] == "f"
    if kind == "sum":
        return builder.fadd(a, b) if floating else builder.add(a, b)
    if kind == "prod":
        return builder.fmul(a, b) if floating else builder.mul(a, b)
    order = ">" if kind == "max" else "<"
    if not floating:
        signed = builder.icmp_unsigned if code[0] in "ub" else builder.icmp_signed
        return builder.select(signed(order, b, a), b, a)
    # nan wins and stays: b > a, or b is nan.
    better = builder.or_(builder.fcmp_ordered(order, b, a), builder.fcmp_unordered("uno", b, b))
    return builder.select(better, b, a)


def _make_reduce(kind, code):
    """Combine m elements of a block: LANES at a time, then a tree of halves, then the rest.

    The order is part of graphad's promise of equal bits (docs/design.md, "Sums").
    """
    stored, numba_type = _STORED[code], NUMBA_TYPES[code]
    vector = ir.VectorType(stored, LANES)

    @intrinsic
    def reduce(typingctx, start, pointer, m):
        def codegen(context, builder, sig, args):
            first, address, m = args
            base = builder.inttoptr(address, stored.as_pointer())
            out = cgutils.alloca_once_value(builder, first)
            rounds = builder.udiv(m, ir.Constant(I64, LANES))
            with builder.if_then(builder.icmp_signed(">", rounds, ir.Constant(I64, 0))):
                wide = builder.bitcast(base, vector.as_pointer())
                lanes = cgutils.alloca_once_value(builder, _aligned(builder.load(wide), code))
                with cgutils.for_range_slice(
                    builder, ir.Constant(I64, 1), rounds, ir.Constant(I64, 1), intp=I64
                ) as (k, _):
                    new = _aligned(builder.load(builder.gep(wide, [k])), code)
                    builder.store(_combine(builder, kind, code, builder.load(lanes), new), lanes)
                total = _tree(builder, kind, code, builder.load(lanes))
                builder.store(_combine(builder, kind, code, builder.load(out), total), out)
            done = builder.mul(rounds, ir.Constant(I64, LANES))
            with cgutils.for_range_slice(builder, done, m, ir.Constant(I64, 1), intp=I64) as (k, _):
                value = builder.load(builder.gep(base, [k]))
                builder.store(_combine(builder, kind, code, builder.load(out), value), out)
            return builder.load(out)

        return numba_type(numba_type, types.int64, types.int64), codegen

    return reduce


def _aligned(instruction, code):
    instruction.align = int(code[1])
    return instruction


def _tree(builder, kind, code, lanes):
    width = LANES
    i32 = ir.IntType(32)
    while width > 1:
        width //= 2
        low = ir.Constant(ir.VectorType(i32, width), list(range(width)))
        high = ir.Constant(ir.VectorType(i32, width), list(range(width, 2 * width)))
        a = builder.shuffle_vector(lanes, lanes, low)
        b = builder.shuffle_vector(lanes, lanes, high)
        lanes = _combine(builder, kind, code, a, b)
    return builder.extract_element(lanes, ir.Constant(i32, 0))


@intrinsic
def wide_vectors(typingctx):
    """Let LLVM use 512-bit vectors in this function where the CPU has them."""

    def codegen(context, builder, sig, args):
        if llvm.get_host_cpu_features().get("avx512f"):
            set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def call_kernel(typingctx, address, table, start, stop):
    """Call a kernel by address; its status (a kernel never raises)."""

    def codegen(context, builder, sig, args):
        return call_at(builder, *args)

    return types.int64(types.int64, TABLE, types.int64, types.int64), codegen


MOST_THREADS = 64


def call_at(builder, address, table, start, stop):
    """Call a kernel by Numba's convention for native functions; its status."""
    i8 = ir.IntType(8)
    convention = ir.FunctionType(
        ir.IntType(32),
        [I64.as_pointer(), i8.as_pointer().as_pointer(), I64.as_pointer(), I64, I64],
    )
    result = cgutils.alloca_once(builder, I64)
    error = cgutils.alloca_once(builder, i8.as_pointer())
    function = builder.inttoptr(address, convention.as_pointer())
    builder.call(function, [result, error, table, start, stop])
    return builder.load(result)


def _thread_main(module):
    """A thread's function: runs the kernel of its job (address, table, start, stop, status)."""
    if "graphad_thread" in module.globals:
        return module.globals["graphad_thread"]
    pointer = ir.IntType(8).as_pointer()
    function = ir.Function(module, ir.FunctionType(pointer, [pointer]), "graphad_thread")
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block())
    job = builder.bitcast(function.args[0], I64.as_pointer())
    address, table, start, stop = (
        builder.load(builder.gep(job, [ir.Constant(I64, k)])) for k in range(4)
    )
    table = builder.inttoptr(table, I64.as_pointer())
    status = call_at(builder, address, table, start, stop)
    builder.store(status, builder.gep(job, [ir.Constant(I64, 4)]))
    builder.ret(ir.Constant(pointer, None))
    return function


@intrinsic
def start_thread(typingctx, jobs, threads, k):
    """Start a thread for the k-th job of a table; whether it could be."""

    def codegen(context, builder, sig, args):
        pointer = ir.IntType(8).as_pointer()
        kinds = [I64.as_pointer(), pointer, ir.FunctionType(pointer, [pointer]).as_pointer()]
        create = declared(builder, "pthread_create", ir.IntType(32), [*kinds, pointer])
        job = builder.gep(args[0], [builder.mul(args[2], ir.Constant(I64, 5))])
        handle = builder.gep(args[1], [args[2]])
        job = builder.bitcast(job, pointer)
        function = _thread_main(builder.module)
        failed = builder.call(create, [handle, ir.Constant(pointer, None), function, job])
        return builder.icmp_signed("==", failed, ir.Constant(ir.IntType(32), 0))

    return types.boolean(TABLE, TABLE, types.int64), codegen


@intrinsic
def join_thread(typingctx, threads, k):
    """Wait for the k-th thread."""

    def codegen(context, builder, sig, args):
        pointer = ir.IntType(8).as_pointer()
        join = declared(builder, "pthread_join", ir.IntType(32), [I64, pointer.as_pointer()])
        handle = builder.load(builder.gep(args[0], [args[1]]))
        builder.call(join, [handle, ir.Constant(pointer.as_pointer(), None)])
        return context.get_dummy_value()

    return types.void(TABLE, types.int64), codegen


@intrinsic
def call_product(typingctx, address, table):
    """Call BLAS ?gemm, whose 13 arguments are pointers that stand in the table from slot 0."""

    def codegen(context, builder, sig, args):
        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer] * 13)
        function = builder.inttoptr(args[0], kind.as_pointer())
        values = []
        for k in range(13):
            at = builder.gep(args[1], [ir.Constant(I64, k)])
            values.append(builder.inttoptr(builder.load(at), pointer))
        builder.call(function, values)
        return context.get_dummy_value()

    return types.void(types.int64, TABLE), codegen


@intrinsic
def slot(typingctx, table, k):
    """The table from its k-th slot."""

    def codegen(context, builder, sig, args):
        return builder.gep(args[0], [args[1]])

    return TABLE(TABLE, types.int64), codegen


@intrinsic
def put(typingctx, table, k, value):
    """table[k] = value."""

    def codegen(context, builder, sig, args):
        builder.store(args[2], builder.gep(args[0], [args[1]]))
        return context.get_dummy_value()

    return types.void(TABLE, types.int64, types.int64), codegen


@intrinsic
def address_of(typingctx, table, k):
    """The address of the k-th slot."""

    def codegen(context, builder, sig, args):
        return builder.ptrtoint(builder.gep(args[0], [args[1]]), I64)

    return types.int64(TABLE, types.int64), codegen


@intrinsic
def as_table(typingctx, address):
    """An address as a table."""

    def codegen(context, builder, sig, args):
        return builder.inttoptr(args[0], I64.as_pointer())

    return TABLE(types.int64), codegen


def declared(builder, name, result, arguments):
    """A C function of this signature in the module being built."""
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


@intrinsic
def allocate(typingctx, size):
    """malloc, as an address; 0 when there is no memory."""

    def codegen(context, builder, sig, args):
        pointer = ir.IntType(8).as_pointer()
        made = builder.call(declared(builder, "malloc", pointer, [I64]), [args[0]])
        return builder.ptrtoint(made, I64)

    return types.int64(types.int64), codegen


@intrinsic
def release(typingctx, address):
    """free."""

    def codegen(context, builder, sig, args):
        pointer = ir.IntType(8).as_pointer()
        free = declared(builder, "free", ir.VoidType(), [pointer])
        builder.call(free, [builder.inttoptr(args[0], pointer)])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def copy_bytes(typingctx, to, source, size):
    """memcpy."""

    def codegen(context, builder, sig, args):
        pointer = ir.IntType(8).as_pointer()
        memcpy = declared(builder, "memcpy", pointer, [pointer, pointer, I64])
        at = [builder.inttoptr(a, pointer) for a in args[:2]]
        builder.call(memcpy, [*at, args[2]])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def fill_zero(typingctx, to, size):
    """memset to zero."""

    def codegen(context, builder, sig, args):
        pointer = ir.IntType(8).as_pointer()
        memset = declared(builder, "memset", pointer, [pointer, ir.IntType(32), I64])
        zero = ir.Constant(ir.IntType(32), 0)
        builder.call(memset, [builder.inttoptr(args[0], pointer), zero, args[1]])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def exchange(typingctx, table, k, value):
    """table[k], value = value, table[k] in one atomic step."""

    def codegen(context, builder, sig, args):
        at = builder.gep(args[0], [args[1]])
        return builder.atomic_rmw("xchg", at, args[2], "seq_cst")

    return types.int64(TABLE, types.int64, types.int64), codegen


def _namespace():
    import math

    import numpy

    names = {"math": math, "np": numpy, "BLOCK": BLOCK}
    for code, numba_type in NUMBA_TYPES.items():
        names[f"load_{code}"] = _make_load(code, True)
        names[f"peek_{code}"] = _make_load(code, False)
        names[f"store_{code}"] = _make_store(code, True)
        names[f"keep_{code}"] = _make_store(code, False)
        names[f"block_{code}"] = _make_block(code)
        names[code] = numba_type if code == "b1" else getattr(numpy, numpy.dtype(code).name)
        if code != "b1":
            for kind in ("sum", "prod", "max", "min"):
                names[f"{kind}_{code}"] = _make_reduce(kind, code)
    names["b1"] = bool
    names |= vecmath.namespace()
    here = globals()
    for name in (
        "integer", "wide_vectors", "call_kernel", "call_product", "slot", "put", "address_of",
        "as_table", "allocate", "release", "copy_bytes", "fill_zero", "exchange",
        "start_thread", "join_thread",
    ):  # fmt: skip
        names[name] = here[name]
    return names


NAMESPACE = _namespace()
