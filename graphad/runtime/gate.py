"""The gate: how Python calls programs. One native function, compiled once, reads NumPy arrays.

`make_gate` gives a built-in function with a table of plans. A call goes through the first plan
whose argument types, ranks and static dims fit; if none does, or a program fails, the arguments
go to a Python fallback, which knows what to say; so they do while anything is traced, since a call
within a trace is staged. Nothing is compiled for a signature.

The offsets into CPython's and NumPy's objects are those of their stable headers; `supported`
checks them on live objects once, and elsewhere calls go by `plain_call` in Python.
"""

from __future__ import annotations

import ctypes
import sys
import sysconfig
from typing import Any

import numpy as np

from graphad.emit.source import quick
from graphad.runtime import executor as x
from graphad.runtime.build import kernel_address
from graphad.runtime.image import Image
from graphad.runtime.once import once
from graphad.trace.run import TRACING

# A gate: an array of integers that is the built-in function's `self`.
FALLBACK, API, PLANS, STATUS, TAKES_OUT, FIRST = 0, 1, 2, 3, 4, 5
MOST_PLANS = 16

# A plan, then a record for each argument, one for each result, and the names of the last arguments
# if they are given by name: NAMED of them, from NAMES_AT on.
ARGUMENTS, IMAGE, RESULTS, NEST, FINISH, RELEASE, NAMED, NAMES_AT, PLAN = 0, 1, 2, 3, 4, 5, 6, 7, 8
# An argument: its Python type, kind, mark of its dtype, rank, then its dims (-1: any).
KIND_ARRAY, KIND_RAW, KIND_INT, KIND_BOOL, KIND_OUT = 0, 1, 2, 3, 4
ARGUMENT_FIELDS = 4
# A result: rank (-1 for a scalar), type number, dtype object, for one that is given its argument
# + 1, item size.
RESULT_FIELDS = 5
# How results are nested: one alone, a tuple of them, or by a Python function of the tuple.
ALONE, TUPLE, BY_FUNCTION = 0, 1, 2

(TUPLE_NEW, TUPLE_SET, DECREF, ARRAY_NEW, SCALAR, TRUE, AS_INT, SAVE, RESTORE, VECTORCALL,
 CALL_ONE, INCREF, ARRAY_TYPE, TRACING_AT, OUT_NAME) = range(15)  # fmt: skip

# Where things are in CPython's and NumPy's objects, in bytes.
TYPE_AT, RAW_AT, DATA_AT, RANK_AT, DIMS_AT, STRIDES_AT, DESCR_AT, FLAGS_AT = (
    8, 16, 16, 24, 32, 40, 56, 64)  # fmt: skip
SIZE_AT, ITEMS_AT = 16, 24  # of a tuple
MARK_AT = 24  # kind, letter, byte order, flags, type number
MARK = 0xFFFFFFFF00FF0000 - (1 << 64)  # of which: byte order and type number
ALIGNED = 0x100
CARRAY = 0x501  # contiguous, aligned, writeable
STACK = 8192  # bytes of a frame that needs no malloc

GATE_SOURCE = quick(f"""\
def gate(self, args, unnamed, names):
    here = integer(self, {DATA_AT // 8})
    api = integer(here, {API})
    fits = False
    out = 0
    named = 0
    if names != 0:
        named = integer(names, {SIZE_AT // 8})
        if (named == 1) & (integer(here, {TAKES_OUT}) != 0):
            if integer(names, {ITEMS_AT // 8}) == integer(api, {OUT_NAME}):
                out = integer(args, unnamed)
                named = 0
    count = unnamed + named
    if integer(integer(api, {TRACING_AT}), 0) == 0:
        for which in range(integer(here, {PLANS})):
            plan = integer(here, {FIRST} + which)
            fits = (integer(plan, {ARGUMENTS}) == count) & (integer(plan, {NAMED}) == named)
            at = integer(plan, {NAMES_AT})
            for k in range(named if fits else 0):
                if integer(names, {ITEMS_AT // 8} + k) != integer(plan, at + k):
                    fits = False
            at = {PLAN}
            for k in range(count if fits else 0):
                a = integer(args, k)
                if integer(a, {TYPE_AT // 8}) != integer(plan, at):
                    fits = False
                    break
                kind = integer(plan, at + 1)
                rank = integer(plan, at + 3)
                if kind == {KIND_ARRAY}:
                    mark = integer(integer(a, {DESCR_AT // 8}), {MARK_AT // 8}) & {MARK}
                    if mark != integer(plan, at + 2):
                        fits = False
                        break
                    if i8(peek_i4(a, {RANK_AT // 4})) != rank:
                        fits = False
                        break
                    if i8(peek_i4(a, {FLAGS_AT // 4})) & {ALIGNED} == 0:
                        fits = False
                        break
                    dims = integer(a, {DIMS_AT // 8})
                    for d in range(rank):
                        wanted = integer(plan, at + {ARGUMENT_FIELDS} + d)
                        if (wanted >= 0) & (wanted != integer(dims, d)):
                            fits = False
                            break
                    if not fits:
                        break
                at += {ARGUMENT_FIELDS} + rank
            if fits:
                break
    if fits and out != 0:
        # `out=` is written to directly where it is a plain array apart from the arguments.
        rank = integer(plan, at)
        fits = (integer(plan, {RESULTS}) == 1) & (rank > 0)
        if fits:
            fits = integer(out, {TYPE_AT // 8}) == integer(api, {ARRAY_TYPE})
        if fits:
            mark = integer(integer(out, {DESCR_AT // 8}), {MARK_AT // 8}) & {MARK}
            wanted = integer(integer(plan, at + 2), {MARK_AT // 8}) & {MARK}
            flags = i8(peek_i4(out, {FLAGS_AT // 4})) & {CARRAY}
            fits = (mark == wanted) & (flags == {CARRAY})
            fits = fits & (i8(peek_i4(out, {RANK_AT // 4})) == rank)
        if fits:
            first = integer(out, {DATA_AT // 8})
            last = integer(plan, at + 4)
            dims = integer(out, {DIMS_AT // 8})
            for d in range(rank):
                last = last * integer(dims, d)
            last = first + last
            at = {PLAN}
            for k in range(count):
                a = integer(args, k)
                rank = integer(plan, at + 3)
                if integer(plan, at + 1) == {KIND_ARRAY}:
                    low = integer(a, {DATA_AT // 8})
                    high = low + 16
                    dims = integer(a, {DIMS_AT // 8})
                    strides = integer(a, {STRIDES_AT // 8})
                    for d in range(rank):
                        reach = integer(strides, d) * (integer(dims, d) - 1)
                        low += min(0, reach)
                        high += max(0, reach)
                    if (low < last) & (first < high):
                        fits = False
                at += {ARGUMENT_FIELDS} + rank
    if fits:
        image = integer(plan, {IMAGE})
        size = 8 * integer(image, {x.LENGTH})
        frame = stack({STACK})
        if size > {STACK}:
            frame = allocate(size)
        status = {x.NO_MEMORY}
        if frame != 0:
            copy_bytes(frame, image, size)
            put(frame, {x.SELF}, frame)
            status = 0
            at = {PLAN}
            to = {x.HEADER}
            for k in range(count):
                a = integer(args, k)
                kind = integer(plan, at + 1)
                rank = integer(plan, at + 3)
                if kind == {KIND_ARRAY}:
                    put(frame, to, integer(a, {DATA_AT // 8}))
                    dims = integer(a, {DIMS_AT // 8})
                    strides = integer(a, {STRIDES_AT // 8})
                    for d in range(rank):
                        put(frame, to + {x.INPUT_FIELDS} + d, integer(dims, d))
                        put(frame, to + {x.INPUT_FIELDS} + rank + d, integer(strides, d))
                elif kind != {KIND_OUT}:
                    value = integer(a, {RAW_AT // 8})
                    if kind == {KIND_INT}:
                        overflow = stack(8)
                        value = invoke2(integer(api, {AS_INT}), a, overflow)
                        if peek_i4(overflow, 0) != 0:
                            status = {x.BAD_SHAPE}
                    elif kind == {KIND_BOOL}:
                        value = i8(a == integer(api, {TRUE}))
                    put(frame, to + 3, value)
                    put(frame, to, frame + 8 * (to + 3))
                at += {ARGUMENT_FIELDS} + rank
                if kind != {KIND_OUT}:
                    to += {x.INPUT_FIELDS} + 4 * rank
            if status == 0:
                status = call_kernel(integer(image, {x.PREPARE}), frame, 0, 0)
            results = integer(plan, {RESULTS})
            made = 0
            if status == 0:
                made = invoke1(integer(api, {TUPLE_NEW}), results)
                if made == 0:
                    status = {x.NO_MEMORY}
            out_at = to
            for k in range(results if status == 0 else 0):
                rank = integer(plan, at)
                given = integer(plan, at + 3)
                if rank < 0:
                    put(frame, to, frame + 8 * (to + 3))
                elif (given > 0) | (out != 0):
                    a = out
                    if given > 0:
                        a = integer(args, given - 1)
                    dims = integer(a, {DIMS_AT // 8})
                    for d in range(rank):
                        if integer(dims, d) != integer(frame, to + 4 + d):
                            status = {x.BAD_SHAPE}
                    put(frame, to, integer(a, {DATA_AT // 8}))
                    invoke1(integer(api, {INCREF}), a)
                    invoke3(integer(api, {TUPLE_SET}), made, k, a)
                else:
                    array = invoke9(integer(api, {ARRAY_NEW}), integer(api, {ARRAY_TYPE}), rank,
                                    frame + 8 * (to + 4), integer(plan, at + 1), 0, 0, 0, 0, 0)
                    if array == 0:
                        status = {x.NO_MEMORY}
                        break
                    put(frame, to, integer(array, {DATA_AT // 8}))
                    invoke3(integer(api, {TUPLE_SET}), made, k, array)
                at += {RESULT_FIELDS}
                to += 4 + max(rank, 0)
            if status == 0:
                thread = 0
                if integer(plan, {RELEASE}) != 0:
                    thread = invoke0(integer(api, {SAVE}))
                status = call_kernel(integer(image, {x.EXECUTE}), frame, 0, 0)
                if thread != 0:
                    invoke1(integer(api, {RESTORE}), thread)
            call_kernel(integer(image, {x.FINISH}), frame, 0, 0)
            nest = integer(plan, {NEST})
            at -= {RESULT_FIELDS} * results
            to = out_at
            for k in range(results if status == 0 else 0):
                rank = integer(plan, at)
                if rank < 0:
                    scalar = invoke3(integer(api, {SCALAR}), frame + 8 * (to + 3),
                                     integer(plan, at + 2), 0)
                    invoke3(integer(api, {TUPLE_SET}), made, k, scalar)
                at += {RESULT_FIELDS}
                to += 4 + max(rank, 0)
            if size > {STACK}:
                release(frame)
            if status == 0:
                if nest == {TUPLE}:
                    return made
                if nest == {ALONE}:
                    first = integer(made, 3)
                    invoke1(integer(api, {INCREF}), first)
                    invoke1(integer(api, {DECREF}), made)
                    return first
                nested = invoke2(integer(api, {CALL_ONE}), integer(plan, {FINISH}), made)
                invoke1(integer(api, {DECREF}), made)
                return nested
            if made != 0:
                invoke1(integer(api, {DECREF}), made)
        put(here, {STATUS}, status)
    else:
        put(here, {STATUS}, 0)
    return invoke4(integer(api, {VECTORCALL}), integer(here, {FALLBACK}), args, unnamed, names)
""")


@once
def _api() -> np.ndarray:
    """Addresses of the functions of CPython and NumPy that the gate calls."""
    from numpy._core import _multiarray_umath as umath  # type: ignore[attr-defined]

    python = ctypes.pythonapi
    get = python.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = get(umath._ARRAY_API, None)  # type: ignore[attr-defined]
    numpy_api = (ctypes.c_void_p * 100).from_address(table)

    def at(name):
        return ctypes.cast(getattr(python, name), ctypes.c_void_p).value or 0

    slots = [
        at("PyTuple_New"), at("PyTuple_SetItem"), at("Py_DecRef"), numpy_api[93] or 0,
        numpy_api[60] or 0, id(True), at("PyLong_AsLongLongAndOverflow"), at("PyEval_SaveThread"),
        at("PyEval_RestoreThread"), at("PyObject_Vectorcall"), at("PyObject_CallOneArg"),
        at("Py_IncRef"), id(np.ndarray), TRACING.ctypes.data, id(sys.intern("out")),
    ]  # fmt: skip
    return np.array(slots, np.int64)


class _MethodDef(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("code", ctypes.c_void_p),
                ("flags", ctypes.c_int), ("doc", ctypes.c_char_p)]  # fmt: skip


@once
def _method() -> _MethodDef:
    fast_call_with_keywords = 0x80 | 0x02
    return _MethodDef(b"graphad", kernel_address(GATE_SOURCE), fast_call_with_keywords, None)


def _word(address: int) -> int:
    return ctypes.c_int64.from_address(address).value


def mark(dtype: np.dtype) -> int:
    """What identifies a dtype in the eyes of the gate."""
    return _word(id(dtype) + MARK_AT) & MARK


@once
def supported() -> bool:
    """Whether objects lie in memory as the gate expects; read from live ones."""
    if sysconfig.get_config_var("Py_GIL_DISABLED") or sysconfig.get_config_var("Py_TRACE_REFS"):
        return False
    probe = np.empty((3, 5), np.float32)[:, ::2]
    at = id(probe)
    dims, strides = _word(at + DIMS_AT), _word(at + STRIDES_AT)
    number, names = np.float64(1.25), ("out", "in")
    return (
        _word(at + TYPE_AT) == id(np.ndarray)
        and _word(at + DATA_AT) == probe.ctypes.data
        and _word(at + RANK_AT) & 0xFFFFFFFF == 2
        and (_word(dims), _word(dims + 8)) == probe.shape
        and (_word(strides), _word(strides + 8)) == probe.strides
        and _word(at + DESCR_AT) == id(probe.dtype)
        and _word(at + FLAGS_AT) & (ALIGNED | 1) == ALIGNED
        and _word(id(probe.dtype) + MARK_AT) >> 32 == probe.dtype.num
        and (_word(id(names) + SIZE_AT), _word(id(names) + ITEMS_AT)) == (2, id(names[0]))
        and ctypes.c_double.from_address(id(number) + RAW_AT).value == 1.25
        and ctypes.c_double.from_address(id(1.25) + RAW_AT).value == 1.25
    )


class Table(np.ndarray):
    """A gate's table, which is its `self`; it keeps alive what its addresses point to."""

    alive: list

    def add(self, plan: np.ndarray, *objects) -> bool:
        """Put a plan in; whether there was room."""
        count = int(self[PLANS])
        if count == MOST_PLANS:
            return False
        self.alive += [plan, *objects]
        self[FIRST + count] = plan.ctypes.data
        self[PLANS] = count + 1
        return True


def make_gate(fallback, takes_out: bool = False) -> tuple[Any, Table]:
    """(a built-in function without plans, its table). `takes_out`: whether out= is where to write
    the result, not an argument of the function's own."""
    table = np.zeros(FIRST + MOST_PLANS, np.int64).view(Table)
    table.alive = [fallback]
    table[FALLBACK], table[API] = id(fallback), _api().ctypes.data
    table[TAKES_OUT] = takes_out
    new = ctypes.pythonapi.PyCFunction_NewEx
    new.restype = ctypes.py_object
    new.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
    return new(ctypes.addressof(_method()), table, None), table


def kind_of(cls: type) -> int | None:
    """How the gate reads an argument of this type; None if it does not."""
    if cls is np.ndarray:
        return KIND_ARRAY
    if cls is int or cls is bool:
        return KIND_INT if cls is int else KIND_BOOL
    readable = cls is float or (issubclass(cls, np.generic) and np.dtype(cls).kind in "fiub")
    return KIND_RAW if readable else None


def make_plan(image: Image, inputs, outputs, types, nest, finish=None, given=0,
              names=()) -> np.ndarray:  # fmt: skip
    """The plan of calls with arguments of these types.

    `inputs`, `outputs`: Specs. `types`: the arguments' Python types. `given`: so many array
    results come as further arguments, which the caller has checked. `names`: of the last arguments,
    if they are given by name.
    """
    words = [len(inputs) + given, image.address, len(outputs), nest,
             0 if finish is None else id(finish), int(image.releases), len(names), 0]  # fmt: skip
    for spec, cls in zip(inputs, types, strict=True):
        kind = kind_of(cls)
        assert kind is not None
        words += [id(cls), kind, mark(spec.dtype) if kind == KIND_ARRAY else 0, spec.ndim]
        words += [d if isinstance(d, int) else -1 for d in spec.shape]
    words += [id(np.ndarray), KIND_OUT, 0, 0] * given
    taken = 0
    for spec in outputs:
        taken += bool(given and spec.ndim)
        place = len(inputs) + taken if given and spec.ndim else 0
        words += [spec.ndim or -1, spec.dtype.num, id(np.dtype(spec.dtype.char)), place,
                  spec.dtype.itemsize]  # fmt: skip
    words[NAMES_AT] = len(words)
    words += [id(sys.intern(name)) for name in names]
    return np.array(words, np.int64)


def plain_call(image: Image, inputs, outputs, leaves, given) -> tuple[int, list]:
    """The same in Python, for interpreters whose objects the gate cannot read: (status, results).

    `given`: arrays for the array results, or an empty list.
    """
    frame = image.data.copy()
    frame[x.SELF] = frame.ctypes.data
    kept, at = [], x.HEADER
    for spec, leaf in zip(inputs, leaves, strict=True):
        array = np.asarray(leaf, spec.dtype)
        kept.append(array)
        frame[at] = array.ctypes.data
        frame[at + x.INPUT_FIELDS : at + x.INPUT_FIELDS + 2 * spec.ndim] = (
            *array.shape, *array.strides)  # fmt: skip
        at += x.INPUT_FIELDS + 4 * spec.ndim
    status = _plainly(frame, x.PREPARE)
    results, rest = [], list(given)
    for spec in outputs if status == 0 else ():
        shape = tuple(int(d) for d in frame[at + 4 : at + 4 + spec.ndim])
        results.append(rest.pop(0) if given and spec.ndim else np.empty(shape, spec.dtype))
        frame[at] = results[-1].ctypes.data
        at += 4 + spec.ndim
    status = status or _plainly(frame, x.EXECUTE)
    _plainly(frame, x.FINISH)
    return status, [r if r.ndim else r[()] for r in results]


def _plainly(frame, function) -> int:
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
    return kind(int(frame[function]))(frame.ctypes.data, 0, 0)
