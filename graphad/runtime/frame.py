"""What entry sources are written in: a call's frame, opened from an image and filled in."""

# pyright: reportCallIssue=false
from __future__ import annotations

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from graphad.runtime import executor as x
from graphad.runtime.intrinsics import (
    _STORED,
    NUMBA_TYPES,
    address_of,
    allocate,
    as_table,
    call_kernel,
    copy_bytes,
    integer,
    put,
    release,
)

I64 = ir.IntType(64)


@njit(inline="never")
def open_frame(image):
    """A frame for one call: a copy of the image."""
    size = 8 * integer(as_table(image), x.LENGTH)
    frame = allocate(size)
    if frame == 0:
        raise MemoryError("graphad: no memory for a call")
    copy_bytes(frame, image, size)
    put(as_table(frame), x.SELF, frame)
    return frame


@njit(inline="never")
def close_frame(frame):
    """Give back what the call used."""
    call_kernel(integer(as_table(frame), x.FINISH), as_table(frame), 0, 0)
    release(frame)


@njit(inline="never")
def run(frame, function):
    """Call one of the executor's functions; its status."""
    return call_kernel(integer(as_table(frame), function), as_table(frame), 0, 0)


@njit(inline="never")
def fail(status):
    """Raise the error of a status."""
    if status == 1:
        raise IndexError("graphad: an index is out of bounds")
    if status == 2:
        raise ValueError("graphad: an argument has another shape than the compiled one")
    if status == 3:
        raise MemoryError("graphad: no memory for a call")
    raise ValueError("graphad: a slice reaches over the end of a symbolic dim")


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
            _set(builder, args[0], args[1], x.INPUT_FIELDS + k, value)
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
        place = builder.gep(table, [builder.add(args[1], ir.Constant(I64, 3))])
        data = args[2]
        if sig.args[2] == types.boolean:
            data = builder.zext(data, ir.IntType(8))
        builder.store(data, builder.bitcast(place, data.type.as_pointer()))
        _set(builder, args[0], args[1], 0, builder.ptrtoint(place, I64))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, value), codegen


@njit(inline="always")
def put_own(frame, at):
    """A scalar result lives in its own record."""
    put(as_table(frame), at, address_of(as_table(frame), at + 3))


def _make_get(code):
    stored = _STORED[code]

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
