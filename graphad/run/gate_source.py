"""The gate's code: how a native function reads Python's objects and runs a program.

See `gate.py` for what it does. The offsets into CPython's and NumPy's objects are those of their
stable headers; `objects_as_expected` checks them on live objects.
"""

from __future__ import annotations

import ctypes
import sys
import sysconfig

import numpy as np

from graphad.emit.source import quick
from graphad.process.holding import DATA_AT, DIMS_AT, RANK_AT, word
from graphad.run import layout
from graphad.status import NO_MEMORY, NOTED

# A gate's table, an array of integers that is the built-in function's `self`. FALLBACK takes the
# calls that no plan fits, FAILURE the calls that failed. SLOTS is the address of a hash table of
# plans, of MASK + 1 slots; SIZED says whether the dims take part in the hash.
FALLBACK, API, FAILURE, TAKES_OUT, SLOTS, MASK, SIZED, TABLE = range(8)

# A plan, then a record for each argument, one for each result, and the names of the last arguments
# if they are given by name: NAMED of them, from NAMES_AT on. OWNER is the object that keeps alive
# what the plan names; a call holds it.
(ARGUMENTS, IMAGE, RESULTS, NEST, FINISH, RELEASE, NAMED, NAMES_AT, OWNER, PLAN) = range(10)
# An argument: its Python type, kind, mark of its dtype, rank, then its dims (-1: any).
CLASS, KIND, MARK_OF, RANK_OF, ARGUMENT_FIELDS = range(5)
KIND_ARRAY, KIND_RAW, KIND_INT, KIND_BOOL, KIND_OUT = range(5)
# A result: rank (-1 for a scalar), type number, dtype object, for one that is given its argument
# + 1, item size.
RANK, NUMBER, DTYPE, GIVEN, ITEM, RESULT_FIELDS = range(6)
# How results are nested: one alone, a tuple of them, or by a Python function of the tuple.
ALONE, TUPLE, BY_FUNCTION = range(3)

(TUPLE_NEW, TUPLE_SET, DECREF, ARRAY_NEW, SCALAR, TRUE, AS_INT, SAVE, RESTORE, VECTORCALL,
 CALL_ONE, INCREF, ARRAY_TYPE, TRACING_AT, OUT_NAME, NEW_INT) = range(16)  # fmt: skip

# Where things are in CPython's and NumPy's objects, in bytes.
# Those of an array's memory, rank and dims are in `holding.py`.
TYPE_AT, RAW_AT, STRIDES_AT, DESCR_AT, FLAGS_AT = 8, 16, 40, 56, 64
SIZE_AT = 16  # of a tuple
MARK_AT = 24  # kind, letter, byte order, flags, type number
MARK = 0xFFFFFFFF00FF0000 - (1 << 64)  # of which: byte order and type number
ALIGNED = 0x100
CARRAY = 0x501  # contiguous, aligned, writeable
STACK = 8192  # bytes of a frame that needs no malloc
WORD = (1 << 64) - 1
MIX = 0x9E3779B97F4A7C15 - (1 << 64)  # of the hash: h = (h ^ word) * MIX, see `hash_of`


def _items_at() -> int:
    """Where a tuple's items start: Python 3.14 keeps a hash before them."""
    if sys.implementation.name != "cpython":
        return 0  # an id is no address
    probe = ("first", "second")
    for at in (24, 32):
        if [word(id(probe) + at + 8 * k) for k in range(2)] == [id(p) for p in probe]:
            return at
    return 0


ITEMS_AT = _items_at()


def mark_of(dtype: np.dtype) -> int:
    """What identifies a dtype in the eyes of the gate."""
    return word(id(dtype) + MARK_AT) & MARK


def objects_as_expected() -> str:
    """Why objects do not lie in memory as the gate expects; '' where they do."""
    if sys.implementation.name != "cpython":
        return f"{sys.implementation.name} instead of CPython"
    if sys.maxsize < 1 << 32:
        return "a Python of 32 bits"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "a build of Python without the global interpreter lock"
    if sysconfig.get_config_var("Py_TRACE_REFS"):
        return "a debug build of Python"
    probe = np.empty((3, 5), np.float32)[:, ::2]
    at = id(probe)
    dims, strides = word(at + DIMS_AT), word(at + STRIDES_AT)
    number, names = np.float64(1.25), ("out", "in")
    checks = {
        "types": word(at + TYPE_AT) == id(np.ndarray),
        "arrays": word(at + DATA_AT) == probe.ctypes.data
        and word(at + RANK_AT) & 0xFFFFFFFF == 2
        and (word(dims), word(dims + 8)) == probe.shape
        and (word(strides), word(strides + 8)) == probe.strides
        and word(at + FLAGS_AT) & (ALIGNED | 1) == ALIGNED,
        "dtypes": word(at + DESCR_AT) == id(probe.dtype)
        and word(id(probe.dtype) + MARK_AT) >> 32 == probe.dtype.num,
        "tuples": ITEMS_AT > 0 and word(id(names) + SIZE_AT) == 2,
        "numbers": ctypes.c_double.from_address(id(number) + RAW_AT).value == 1.25
        and ctypes.c_double.from_address(id(1.25) + RAW_AT).value == 1.25,
    }
    wrong = [name for name, right in checks.items() if not right]
    return f"{', '.join(wrong)} with another layout in memory" if wrong else ""


def hash_of(words) -> int:
    """The gate's hash of some integers."""
    h = 0
    for w in words:
        h = (((h ^ w) & WORD) * MIX) & WORD
    return h >> 32


_FIND = f"""\
    if integer(integer(api, {TRACING_AT}), 0) == 0:
        hash = count * {MIX}
        sized = integer(here, {SIZED})
        for k in range(count):
            a = integer(args, k)
            cls = integer(a, {TYPE_AT // 8})
            hash = (hash ^ cls) * {MIX}
            if cls == integer(api, {ARRAY_TYPE}):
                mark = integer(integer(a, {DESCR_AT // 8}), {MARK_AT // 8}) & {MARK}
                hash = (hash ^ mark) * {MIX}
                rank = i8(peek_i4(a, {RANK_AT // 4}))
                hash = (hash ^ rank) * {MIX}
                if sized != 0:
                    dims = integer(a, {DIMS_AT // 8})
                    for d in range(rank):
                        hash = (hash ^ integer(dims, d)) * {MIX}
        for k in range(named):
            hash = (hash ^ integer(names, {ITEMS_AT // 8} + k)) * {MIX}
        mask = integer(here, {MASK})
        place = (hash >> 32) & mask
        slots = integer(here, {SLOTS})
        plan = integer(slots, place)
        while (plan != 0) & (not fits):
            fits = (integer(plan, {ARGUMENTS}) == count) & (integer(plan, {NAMED}) == named)
            at = integer(plan, {NAMES_AT})
            for k in range(named if fits else 0):
                if integer(names, {ITEMS_AT // 8} + k) != integer(plan, at + k):
                    fits = False
            at = {PLAN}
            for k in range(count if fits else 0):
                a = integer(args, k)
                if integer(a, {TYPE_AT // 8}) != integer(plan, at + {CLASS}):
                    fits = False
                    break
                rank = integer(plan, at + {RANK_OF})
                if integer(plan, at + {KIND}) == {KIND_ARRAY}:
                    mark = integer(integer(a, {DESCR_AT // 8}), {MARK_AT // 8}) & {MARK}
                    if mark != integer(plan, at + {MARK_OF}):
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
            if not fits:
                place = (place + 1) & mask
                plan = integer(slots, place)
"""

# `out=` is written to directly where it is a plain array apart from all that the call reads.
_OUT = f"""\
    if fits and out != 0:
        rank = integer(plan, at + {RANK})
        fits = (integer(plan, {RESULTS}) == 1) & (rank > 0)
        if fits:
            fits = integer(out, {TYPE_AT // 8}) == integer(api, {ARRAY_TYPE})
        if fits:
            mark = integer(integer(out, {DESCR_AT // 8}), {MARK_AT // 8}) & {MARK}
            wanted = integer(integer(plan, at + {DTYPE}), {MARK_AT // 8}) & {MARK}
            flags = i8(peek_i4(out, {FLAGS_AT // 4})) & {CARRAY}
            fits = (mark == wanted) & (flags == {CARRAY})
            fits = fits & (i8(peek_i4(out, {RANK_AT // 4})) == rank)
        if fits:
            first = integer(out, {DATA_AT // 8})
            last = integer(plan, at + {ITEM})
            dims = integer(out, {DIMS_AT // 8})
            for d in range(rank):
                last = last * integer(dims, d)
            last = first + last
            at = {PLAN}
            for k in range(count):
                a = integer(args, k)
                rank = integer(plan, at + {RANK_OF})
                if integer(plan, at + {KIND}) == {KIND_ARRAY}:
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
            image = integer(plan, {IMAGE})
            to = integer(image, {layout.CAPTURED_AT})
            for k in range(integer(image, {layout.CAPTURED})):
                rank = integer(image, to + {layout.RANK})
                low = integer(image, to + {layout.ADDRESS})
                high = low + integer(image, to + {layout.ITEM})
                shape = to + {layout.INPUT_FIELDS}
                for d in range(rank):
                    reach = integer(image, shape + rank + d) * (integer(image, shape + d) - 1)
                    low += min(0, reach)
                    high += max(0, reach)
                if (low < last) & (first < high):
                    fits = False
                to = shape + 4 * rank
"""

# Arguments into the frame. An integer beyond 64 bits is the fallback's business.
_ARGUMENTS = f"""\
            status = 0
            at = {PLAN}
            to = {layout.HEADER}
            for k in range(count):
                a = integer(args, k)
                kind = integer(plan, at + {KIND})
                rank = integer(plan, at + {RANK_OF})
                if kind == {KIND_ARRAY}:
                    put(frame, to + {layout.ADDRESS}, integer(a, {DATA_AT // 8}))
                    dims = integer(a, {DIMS_AT // 8})
                    strides = integer(a, {STRIDES_AT // 8})
                    for d in range(rank):
                        put(frame, to + {layout.INPUT_FIELDS} + d, integer(dims, d))
                        put(frame, to + {layout.INPUT_FIELDS} + rank + d, integer(strides, d))
                elif kind != {KIND_OUT}:
                    value = integer(a, {RAW_AT // 8})
                    if kind == {KIND_INT}:
                        overflow = stack(8)
                        value = invoke2(integer(api, {AS_INT}), a, overflow)
                        if peek_i4(overflow, 0) != 0:
                            refused = True
                    elif kind == {KIND_BOOL}:
                        value = i8(a == integer(api, {TRUE}))
                    put(frame, to + {layout.BITS}, value)
                    put(frame, to + {layout.ADDRESS}, frame + 8 * (to + {layout.BITS}))
                at += {ARGUMENT_FIELDS} + rank
                if kind != {KIND_OUT}:
                    to += {layout.INPUT_FIELDS} + 4 * rank
            if not refused:
                status = call_kernel(integer(image, {layout.PREPARE}), frame, 0, 0)
"""

_RESULTS = f"""\
            if (status == 0) & (not refused):
                made = invoke1(integer(api, {TUPLE_NEW}), results)
                if made == 0:
                    status = {NO_MEMORY}
            out_at = to
            for k in range(results if made != 0 else 0):
                rank = integer(plan, at + {RANK})
                given = integer(plan, at + {GIVEN})
                if rank < 0:
                    put(frame, to + {layout.ADDRESS}, frame + 8 * (to + {layout.BITS}))
                elif (given > 0) | (out != 0):
                    a = out
                    if given > 0:
                        a = integer(args, given - 1)
                    dims = integer(a, {DIMS_AT // 8})
                    for d in range(rank):
                        if integer(dims, d) != integer(frame, to + {layout.OUTPUT_FIELDS} + d):
                            refused = True
                    put(frame, to + {layout.ADDRESS}, integer(a, {DATA_AT // 8}))
                    invoke1(integer(api, {INCREF}), a)
                    invoke3(integer(api, {TUPLE_SET}), made, k, a)
                else:
                    array = invoke9(integer(api, {ARRAY_NEW}), integer(api, {ARRAY_TYPE}), rank,
                                    frame + 8 * (to + {layout.OUTPUT_FIELDS}),
                                    integer(plan, at + {NUMBER}), 0, 0, 0, 0, 0)
                    if array == 0:
                        status = {NO_MEMORY}
                        break
                    put(frame, to + {layout.ADDRESS}, integer(array, {DATA_AT // 8}))
                    invoke3(integer(api, {TUPLE_SET}), made, k, array)
                at += {RESULT_FIELDS}
                to += {layout.OUTPUT_FIELDS} + max(rank, 0)
            if (status == 0) & (not refused):
                thread = 0
                if integer(plan, {RELEASE}) != 0:
                    thread = invoke0(integer(api, {SAVE}))
                status = call_kernel(integer(image, {layout.EXECUTE}), frame, 0, 0)
                if thread != 0:
                    invoke1(integer(api, {RESTORE}), thread)
            call_kernel(integer(image, {layout.FINISH}), frame, 0, 0)
            failed = integer(frame, {layout.FAILED})
            at = results_at
            to = out_at
            for k in range(results if (status == 0) & (not refused) else 0):
                rank = integer(plan, at + {RANK})
                if rank < 0:
                    scalar = invoke3(integer(api, {SCALAR}), frame + 8 * (to + {layout.BITS}),
                                     integer(plan, at + {DTYPE}), 0)
                    invoke3(integer(api, {TUPLE_SET}), made, k, scalar)
                at += {RESULT_FIELDS}
                to += {layout.OUTPUT_FIELDS} + max(rank, 0)
            if size > {STACK}:
                release(frame)
"""

_NEST = f"""\
        result = 0
        if (status == 0) & (not refused):
            nest = integer(plan, {NEST})
            result = made
            if nest == {ALONE}:
                result = integer(made, {ITEMS_AT // 8})
                invoke1(integer(api, {INCREF}), result)
                invoke1(integer(api, {DECREF}), made)
            elif nest == {BY_FUNCTION}:
                result = invoke2(integer(api, {CALL_ONE}), integer(plan, {FINISH}), made)
                invoke1(integer(api, {DECREF}), made)
        elif made != 0:
            invoke1(integer(api, {DECREF}), made)
        if status != 0:
            every = unnamed
            if names != 0:
                every += integer(names, {SIZE_AT // 8})
            words = allocate(8 * every + 16)
            code = invoke1(integer(api, {NEW_INT}), status + {NOTED} * failed)
            put(words, 0, owner)
            put(words, 1, code)
            copy_bytes(words + 16, args, 8 * every)
            result = invoke4(integer(api, {VECTORCALL}), integer(here, {FAILURE}), words,
                             unnamed + 2, names)
            release(words)
            invoke1(integer(api, {DECREF}), code)
        invoke1(integer(api, {DECREF}), owner)
        if not refused:
            return result
"""

GATE_SOURCE = quick(f"""\
def gate(self, args, unnamed, names):
    here = integer(self, {DATA_AT // 8})
    api = integer(here, {API})
    fits = False
    plan = 0
    at = 0
    out = 0
    named = 0
    if names != 0:
        named = integer(names, {SIZE_AT // 8})
        if (named == 1) & (integer(here, {TAKES_OUT}) != 0):
            if integer(names, {ITEMS_AT // 8}) == integer(api, {OUT_NAME}):
                out = integer(args, unnamed)
                named = 0
    count = unnamed + named
{_FIND}
    results_at = at
{_OUT}
    if fits:
        owner = integer(plan, {OWNER})
        invoke1(integer(api, {INCREF}), owner)
        refused = False
        image = integer(plan, {IMAGE})
        size = 8 * integer(image, {layout.LENGTH})
        results = integer(plan, {RESULTS})
        made = 0
        failed = 0
        frame = stack({STACK})
        if size > {STACK}:
            frame = allocate(size)
        status = {NO_MEMORY}
        if frame != 0:
            copy_bytes(frame, image, size)
            put(frame, {layout.SELF}, frame)
{_ARGUMENTS}
{_RESULTS}
{_NEST}
    return invoke4(integer(api, {VECTORCALL}), integer(here, {FALLBACK}), args, unnamed, names)
""")
