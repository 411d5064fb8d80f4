"""What entry sources are written in: a call's frame, opened from an image and filled in."""

# pyright: reportCallIssue=false
from __future__ import annotations

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from graphad.compile.instructions import I64, STORED, declared
from graphad.compile.words import call_kernel
from graphad.emit.target import Target
from graphad.run import layout
from graphad.status import IN_NJIT

NUMBA_TYPES = {
    "f8": types.float64, "f4": types.float32, "i8": types.int64, "i4": types.int32,
    "i2": types.int16, "i1": types.int8, "u8": types.uint64, "u4": types.uint32,
    "u2": types.uint16, "u1": types.uint8, "b1": types.boolean,
}  # fmt: skip


def as_intrinsic(primitive, make=intrinsic, target: Target | None = None):
    """A word of the kernel language for Numba, declared by `make`; its code is for this CPU if no
    other target is given."""
    names = [f"a{k}" for k in range(len(primitive.arguments))]
    kinds = [NUMBA_TYPES[c] for c in primitive.arguments]
    result = NUMBA_TYPES[primitive.result] if primitive.result else types.void

    def made(typingctx, *_):
        def codegen(context, builder, sig, args):
            if target is not None:
                builder.module.target = target
            out = primitive.build(builder, *args)
            return context.get_dummy_value() if out is None else out

        return result(*kinds), codegen

    space = {"made": made}
    listed = ", ".join(["typingctx", *names])
    exec(f"def word({listed}):\n    return made({listed})", space)
    return make(space["word"])


def _slot(builder, frame, k):
    """The address of a slot of a frame."""
    table = builder.inttoptr(frame, I64.as_pointer())
    return builder.gep(table, [ir.Constant(I64, k) if isinstance(k, int) else k])


@intrinsic
def open_frame(typingctx, image):
    """A frame for one call, a copy of the image; 0 when there is no memory."""

    def codegen(context, builder, sig, args):
        pointer = ir.IntType(8).as_pointer()
        length = builder.load(_slot(builder, args[0], layout.LENGTH))
        size = builder.mul(length, ir.Constant(I64, 8))
        malloc = declared(builder, "malloc", pointer, [I64])
        frame = builder.ptrtoint(builder.call(malloc, [size]), I64)
        with builder.if_then(builder.icmp_signed("!=", frame, ir.Constant(I64, 0)), likely=True):
            copy = declared(builder, "memcpy", pointer, [pointer, pointer, I64])
            places = [builder.inttoptr(a, pointer) for a in (frame, args[0])]
            builder.call(copy, [*places, size])
            builder.store(frame, _slot(builder, frame, layout.SELF))
        return frame

    return types.int64(types.int64), codegen


def _run(builder, frame, function):
    address = builder.load(_slot(builder, frame, function))
    zero = ir.Constant(I64, 0)
    return call_kernel(builder, address, frame, zero, zero)


@intrinsic
def close_frame(typingctx, frame):
    """Give back what the call used."""

    def codegen(context, builder, sig, args):
        _run(builder, args[0], layout.FINISH)
        pointer = ir.IntType(8).as_pointer()
        free = declared(builder, "free", ir.VoidType(), [pointer])
        builder.call(free, [builder.inttoptr(args[0], pointer)])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def run(typingctx, frame, function):
    """Call one of the executor's functions; its status."""

    def codegen(context, builder, sig, args):
        return _run(builder, args[0], args[1])

    return types.int64(types.int64, types.int64), codegen


def _fail_source() -> str:
    """Numba compiles no table of exceptions: a test for each."""
    lines = ["def fail(status):"]
    for code, (_, text) in IN_NJIT.items():
        lines += [f"    if status == {code}:", f"        raise error_{code}({text!r})"]
    return "\n".join([*lines, '    raise RuntimeError("graphad: an unknown status")'])


_space = {f"error_{code}": kind for code, (kind, _) in IN_NJIT.items()}
exec(_fail_source(), _space)
fail = njit(inline="never")(_space["fail"])  # raises the error of a status


@intrinsic
def as_pointer(typingctx, address):
    """An address as a pointer that `numba.carray` takes."""

    def codegen(context, builder, sig, args):
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), codegen


@intrinsic
def field(typingctx, frame, at):
    """The integer in a slot."""

    def codegen(context, builder, sig, args):
        table = builder.inttoptr(args[0], I64.as_pointer())
        return builder.load(builder.gep(table, [args[1]]))

    return types.int64(types.int64, types.int64), codegen


def _set(builder, frame, at, offset, value):
    table = builder.inttoptr(frame, I64.as_pointer())
    place = builder.add(at, ir.Constant(I64, offset))
    builder.store(value, builder.gep(table, [place]))


@intrinsic
def put_array(typingctx, frame, at, array):
    """Address, shape and strides of an argument."""

    def codegen(context, builder, sig, args):
        kind = sig.args[2]
        made = context.make_array(kind)(context, builder, args[2])
        _set(builder, args[0], args[1], 0, builder.ptrtoint(made.data, I64))
        shape = cgutils.unpack_tuple(builder, made.shape, kind.ndim)
        strides = cgutils.unpack_tuple(builder, made.strides, kind.ndim)
        for k, value in enumerate([*shape, *strides]):
            _set(builder, args[0], args[1], layout.INPUT_FIELDS + k, value)
        return context.get_dummy_value()

    if not isinstance(array, types.Array):
        return None
    return types.void(types.int64, types.int64, array), codegen


@intrinsic
def put_address(typingctx, frame, at, array):
    """Address of a result."""

    def codegen(context, builder, sig, args):
        made = context.make_array(sig.args[2])(context, builder, args[2])
        _set(builder, args[0], args[1], 0, builder.ptrtoint(made.data, I64))
        return context.get_dummy_value()

    if not isinstance(array, types.Array):
        return None
    return types.void(types.int64, types.int64, array), codegen


@intrinsic
def put_scalar(typingctx, frame, at, value):
    """A scalar argument lives in its own record."""

    def codegen(context, builder, sig, args):
        table = builder.inttoptr(args[0], I64.as_pointer())
        place = builder.gep(table, [builder.add(args[1], ir.Constant(I64, layout.BITS))])
        data = args[2]
        if sig.args[2] == types.boolean:
            data = builder.zext(data, ir.IntType(8))
        builder.store(data, builder.bitcast(place, data.type.as_pointer()))
        _set(builder, args[0], args[1], 0, builder.ptrtoint(place, I64))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, value), codegen


@intrinsic
def put_own(typingctx, frame, at):
    """A scalar result lives in its own record."""

    def codegen(context, builder, sig, args):
        place = _slot(builder, args[0], builder.add(args[1], ir.Constant(I64, layout.BITS)))
        _set(builder, args[0], args[1], 0, builder.ptrtoint(place, I64))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


def _make_get(code):
    stored = STORED[code]

    @intrinsic
    def get(typingctx, frame, at):
        def codegen(context, builder, sig, args):
            table = builder.inttoptr(args[0], I64.as_pointer())
            place = builder.bitcast(builder.gep(table, [args[1]]), stored.as_pointer())
            value = builder.load(place)
            if code == "b1":
                return builder.icmp_unsigned("!=", value, ir.Constant(stored, 0))
            return value

        return NUMBA_TYPES[code](types.int64, types.int64), codegen

    return get


for _code in NUMBA_TYPES:
    globals()[f"get_{_code}"] = _make_get(_code)


@intrinsic(prefer_literal=True)
def image_address(typingctx, which):
    """The address of an image, as a value that Numba will not put into a cache file."""
    address = which.literal_value

    def codegen(context, builder, sig, args):
        pointer = context.add_dynamic_addr(builder, address, info="graphad image")
        return builder.ptrtoint(pointer, I64)

    return types.int64(which), codegen


__all__ = ["close_frame", "fail", "field", "open_frame", "put_address", "put_array"]
__all__ += ["put_own", "put_scalar", "run", *[f"get_{c}" for c in NUMBA_TYPES]]
