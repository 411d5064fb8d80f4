"""The executor: compiled once, it prepares a call's frame and walks the schedule.

Calls are reentrant: each works on a frame of its own. What is where in it is said in `layout.py`.
"""

from __future__ import annotations

from graphad.emit.kernel import SPLIT_WORK
from graphad.emit.source import REGISTERS, KernelSource, quick
from graphad.lower.strips import MOST_SUMMED
from graphad.run.layout import (
    ADDRESS,
    ARENA,
    ARENA_BYTES,
    BIND,
    BITS,
    CAPTURED,
    CAPTURED_AT,
    EQUAL,
    FAILED,
    IMAGE,
    INPUT_FIELDS,
    INPUTS,
    INPUTS_AT,
    ITEM,
    LAYOUT,
    POOL,
    RANK,
    RELOCATION_FIELDS,
    RELOCATIONS,
    RELOCATIONS_AT,
    RUN,
    SHARE,
    STEP_FIELDS,
    STEPS,
    STEPS_AT,
    SYMBOLS_AT,
    TEAM,
    THREADS,
    WATCHED,
    WATCHED_AT,
    WATCHED_FIELDS,
)
from graphad.status import BAD_SHAPE, MOVED, NO_MEMORY, NOTED

# Work is counted in steps of about a tenth of a nanosecond. Waking a thread and moving its data to
# another core costs some tens of µs: a loop is shared when there is SPLIT_WORK for each.

PREPARE_SOURCE = quick(f"""\
def kernel(table, start, stop):
    at = integer(table, {INPUTS_AT})
    symbols = integer(table, {SYMBOLS_AT})
    for k in range(integer(table, {INPUTS})):
        rank = integer(table, at + {RANK})
        shape = at + {INPUT_FIELDS}
        for a in range(rank):
            size = integer(table, shape + a)
            kind = integer(table, shape + 2 * rank + a)
            value = integer(table, shape + 3 * rank + a)
            if kind == {EQUAL}:
                if size != value:
                    return {BAD_SHAPE}
            elif kind == {BIND}:
                put(table, symbols + value, size)
            elif integer(table, symbols + value) != size:
                return {BAD_SHAPE}
        at = shape + 4 * rank
    at = integer(table, {WATCHED_AT})
    for k in range(integer(table, {WATCHED})):
        if integer(integer(table, at), 0) != integer(table, at + 1):
            return {MOVED}
        at += {WATCHED_FIELDS}
    layout = integer(table, {LAYOUT})
    if layout != 0:
        status = call_kernel(layout, table, 0, 0)
        if status != 0:
            return status
    for group in range(2):
        at = integer(table, {CAPTURED_AT} if group else {INPUTS_AT})
        count = integer(table, {CAPTURED} if group else {INPUTS})
        for k in range(count):
            rank = integer(table, at + {RANK})
            item = integer(table, at + {ITEM})
            shape = at + {INPUT_FIELDS}
            expected = item
            straight = True
            for b in range(rank):
                a = rank - 1 - b
                size = integer(table, shape + a)
                if size > 1 and integer(table, shape + rank + a) != expected:
                    straight = False
                expected = expected * size
            if not straight and expected > 0:
                packed = allocate(expected)
                if packed == 0:
                    return {NO_MEMORY}
                put(table, at + {BITS}, packed)
                address = integer(table, at + {ADDRESS})
                last = shape + rank - 1
                width = integer(table, last)
                step = integer(table, last + rank)
                to = packed
                for row in range(expected // (item * width)):
                    rest = row
                    source = address
                    for b in range(1, rank):
                        a = last - b
                        size = integer(table, a)
                        source += (rest % size) * integer(table, a + rank)
                        rest = rest // size
                    if step == item:
                        copy_bytes(to, source, item * width)
                        to += item * width
                    else:
                        for n in range(width):
                            copy_bytes(to, source, item)
                            source += step
                            to += item
                put(table, at + {ADDRESS}, packed)
            at = shape + 4 * rank
    need = integer(table, {ARENA_BYTES})
    if need > 0:
        arena = exchange(integer(table, {IMAGE}), {POOL}, 0)
        if arena != 0 and integer(arena, 0) < need:
            release(arena)
            arena = 0
        if arena == 0:
            arena = allocate(need + 128)
            if arena == 0:
                return {NO_MEMORY}
            put(arena, 0, need)  # its size, so that a later call knows whether it fits
        put(table, {ARENA}, arena)
    return 0
""")

EXECUTE_SOURCE = quick(f"""\
def kernel(table, start, stop):
    arena = integer(table, {ARENA})
    put(table, {ARENA}, (arena + 127) // 64 * 64)
    at = integer(table, {RELOCATIONS_AT})
    for k in range(integer(table, {RELOCATIONS})):
        base = integer(table, integer(table, at + 1))
        put(table, integer(table, at), base + integer(table, at + 2))
        at += {RELOCATION_FIELDS}
    status = call_kernel(integer(table, {RUN}), table, 0, integer(table, {STEPS}))
    put(table, {ARENA}, arena)
    return status % {NOTED}
""")

RUN_SOURCE = quick(
    f"""\
def kernel(table, start, stop):
    status = 0
    at = integer(table, {STEPS_AT}) + start * {STEP_FIELDS}
    for k in range(start, stop):
        address = integer(table, at)
        operands = slot(table, integer(table, at + 1))
        first = integer(table, at + 2)
        last = integer(table, at + 3)
        grain = integer(table, at + 5)
        parts = min(integer(table, at + 4) // {SPLIT_WORK}, integer(table, {THREADS}), last - first)
        if parts < 2:
            status = call_kernel(address, operands, first, last)
        else:
            team = integer(table, {TEAM})
            status = invoke7(integer(team, {SHARE}), team, address, operands, first, last, parts,
                             grain)
        if status != 0:
            if status < {NOTED}:
                put(table, {FAILED}, k)
                status = status + {NOTED}
            break
        at += {STEP_FIELDS}
    return status
""",
    REGISTERS,
)

FINISH_SOURCE = quick(f"""\
def kernel(table, start, stop):
    for group in range(2):
        at = integer(table, {CAPTURED_AT} if group else {INPUTS_AT})
        count = integer(table, {CAPTURED} if group else {INPUTS})
        for k in range(count):
            rank = integer(table, at + {RANK})
            if rank > 0 and integer(table, at + {BITS}) != 0:
                release(integer(table, at + {BITS}))
            at = at + {INPUT_FIELDS} + 4 * rank
    arena = integer(table, {ARENA})
    if arena != 0:
        arena = exchange(integer(table, {IMAGE}), {POOL}, arena)
        if arena != 0:
            release(arena)
    return 0
""")

ALWAYS = [PREPARE_SOURCE, EXECUTE_SOURCE, RUN_SOURCE, FINISH_SOURCE]  # what every program needs

# Arguments of ?gemm as addresses in slots 0-12; then the function, the number of products, the
# bytes from one to the next for B, A and C, what the loop runs over (see below), the bytes that
# B, A and C move by for one step of it, the functions that get and set BLAS's threads (or 0), and
# how many terms of the sums make a chunk.
BY_PRODUCT, BY_ROW, BY_COLUMN, BY_TERM = range(4)
PRODUCT_SOURCE = quick(f"""\
def kernel(table, start, stop):
    function = integer(table, 13)
    for which in range(3):  # a leading dim of an empty array must still be 1
        at = 7 + 2 * which + which // 2
        if peek_i8(integer(table, at), 0) == 0:
            keep_i8(integer(table, at), 0, 1)
    own = stack(112)
    copy_bytes(own, table, 104)
    kind = integer(table, 18)
    count = integer(table, 14)
    if kind == {BY_PRODUCT}:
        count = stop - start
    else:
        put(own, 13, stop - start)
        put(own, 3 if kind == {BY_ROW} else 2 if kind == {BY_COLUMN} else 4, own + 104)
    put(own, 6, integer(own, 6) + start * integer(table, 19))
    put(own, 8, integer(own, 8) + start * integer(table, 20))
    if kind == {BY_TERM}:  # the sum of a chunk goes on where the strip before left it
        chunk = integer(table, 24)
        put(own, 11, integer(own, 11) + start // chunk * integer(table, 21))
        if start % chunk != 0:
            put(own, 10, integer(own, 5))
    else:
        put(own, 11, integer(own, 11) + start * integer(table, 21))
    threads = 0
    if integer(table, 22) != 0:  # its threads would be in the way of ours
        threads = invoke0(integer(table, 22)) & 65535
        if threads > 1:
            invoke1(integer(table, 23), 1)
    for k in range(count):
        call_product(function, own)
        put(own, 6, integer(own, 6) + integer(table, 15))
        put(own, 8, integer(own, 8) + integer(table, 16))
        put(own, 11, integer(own, 11) + integer(table, 17))
    if threads > 1:
        invoke1(integer(table, 23), threads)
    return 0
""")

# A kernel that calls BLAS or LAPACK: the functions that get and set their threads, how many may be
# used, the rows of the largest matrix, the kernel and its table. Few threads do not pay for small
# matrices, and where other processes run they wait for one another.
ONE_THREAD = 256  # rows below which there is one

HELD_SOURCE = quick(f"""\
def kernel(table, start, stop):
    most = integer(table, 2)
    if integer(table, 3) < {ONE_THREAD}:
        most = 1
    threads = invoke0(integer(table, 0)) & 65535
    if threads > most:
        invoke1(integer(table, 1), most)
    status = call_kernel(integer(table, 4), integer(table, 5), start, stop)
    if threads > most:
        invoke1(integer(table, 1), threads)
    return status
""")

# A loop over steps. Its operands: the frame, the number of steps, the slot that says where a
# smaller number stands (or 0), whether backward, the slot of the index, the steps of the body and
# of the condition, the slot that says where its answer stands, the slot that says where the number
# of steps taken goes (or 0); then (slot, number) of three lists. Rows: slot of the cursor, slot of
# where it starts, bytes a step. Carries: cursors in and out, slots of the two places, slot of the
# start, bytes. Relocations that the cursors move: slot, slot of the base, bytes.
(FRAME, LENGTH_OF, COUNT_SLOT, REVERSE, INDEX_SLOT, BODY, BODY_END, TEST, TEST_END, ANSWER_SLOT,
 TAKEN_SLOT, ROWS_AT, ROWS, CARRIES_AT, CARRIES, MOVED_AT, MOVED) = range(17)  # fmt: skip
ROW_FIELDS, CARRY_FIELDS = 3, 6

REPEAT_SOURCE = quick(
    f"""\
def kernel(table, start, stop):
    frame = integer(table, {FRAME})
    run = integer(frame, {RUN})
    length = integer(table, {LENGTH_OF})
    if integer(table, {COUNT_SLOT}) != 0:
        length = min(length, integer(integer(frame, integer(table, {COUNT_SLOT})), 0))
    carries = integer(table, {CARRIES})
    carries_at = integer(table, {CARRIES_AT})
    at = carries_at
    for k in range(carries):
        first = integer(frame, integer(frame, at + 2))
        copy_bytes(first, integer(frame, integer(frame, at + 4)), integer(frame, at + 5))
        put(frame, integer(frame, at), first)
        put(frame, integer(frame, at + 1), integer(frame, integer(frame, at + 3)))
        at += {CARRY_FIELDS}
    status = 0
    taken = 0
    while taken < length:
        index = taken
        if integer(table, {REVERSE}) != 0:
            index = length - 1 - taken
        put(frame, integer(table, {INDEX_SLOT}), index)
        at = integer(table, {ROWS_AT})
        for k in range(integer(table, {ROWS})):
            base = integer(frame, integer(frame, at + 1))
            put(frame, integer(frame, at), base + index * integer(frame, at + 2))
            at += {ROW_FIELDS}
        at = integer(table, {MOVED_AT})
        for k in range(integer(table, {MOVED})):
            base = integer(frame, integer(frame, at + 1))
            put(frame, integer(frame, at), base + integer(frame, at + 2))
            at += {RELOCATION_FIELDS}
        if integer(table, {TEST_END}) > integer(table, {TEST}):
            status = call_kernel(run, frame, integer(table, {TEST}), integer(table, {TEST_END}))
            if status != 0:
                break
            if not peek_b1(integer(frame, integer(table, {ANSWER_SLOT})), 0):
                break
        status = call_kernel(run, frame, integer(table, {BODY}), integer(table, {BODY_END}))
        if status != 0:
            break
        at = carries_at
        for k in range(carries):
            base = integer(frame, integer(frame, at))
            put(frame, integer(frame, at), integer(frame, integer(frame, at + 1)))
            put(frame, integer(frame, at + 1), base)
            at += {CARRY_FIELDS}
        taken += 1
    at = carries_at
    for k in range(carries if status == 0 else 0):
        first = integer(frame, integer(frame, at + 2))
        if integer(frame, integer(frame, at)) != first:
            copy_bytes(first, integer(frame, integer(frame, at)), integer(frame, at + 5))
        at += {CARRY_FIELDS}
    if integer(table, {TAKEN_SLOT}) != 0:
        put(integer(frame, integer(table, {TAKEN_SLOT})), 0, taken)
    return status
""",
    REGISTERS,
)

# One of several runs of steps: the frame, the slot that says where the index stands, the number of
# branches, then first and last step of each.
CHOICE_SOURCE = quick(f"""\
def kernel(table, start, stop):
    frame = integer(table, 0)
    index = min(max(integer(integer(frame, integer(table, 1)), 0), 0), integer(table, 2) - 1)
    first = integer(table, 3 + 2 * index)
    last = integer(table, 4 + 2 * index)
    return call_kernel(integer(frame, {RUN}), frame, first, last)
""")

# Regions that run strip by strip. Operands: the block of their tables and its words, bytes of a
# strip's own buffers, rows of a strip, steps and where they are listed, addresses and where they
# are listed, the words that say which memory is taken, that memory, bytes of each part, parts.
# A step: function, word of its table in the block, loop iterations a row. An address in a strip's
# own buffers: word of the block, offset, bytes a row; it is that of row 0 of all. A thread works on
# a copy of the block.
(BLOCK, WORDS, LOCALS, STRIP, STRIP_STEPS, STRIP_STEPS_AT, ADDRESSES, ADDRESSES_AT, TAKEN, ROOM,
 ROOM_BYTES, ROOMS) = range(12)  # fmt: skip
ADDRESS_FIELDS = 3

STRIPS_SOURCE = quick(f"""\
def kernel(table, start, stop):
    block = integer(table, {BLOCK})
    taken = integer(table, {TAKEN})
    own = 0
    part = -1
    for k in range(integer(table, {ROOMS})):
        if own == 0:
            if compare_exchange(taken, k, 0, 1) == 0:
                part = k
                own = integer(table, {ROOM}) + k * integer(table, {ROOM_BYTES})
    if own == 0:
        return {NO_MEMORY}
    words = integer(table, {WORDS})
    copy_bytes(own, block, words * 8)
    buffers = own + (words * 8 + 63) // 64 * 64
    size = integer(table, {STRIP})
    status = 0
    first = start
    while first < stop:
        last = min(first + size, stop)
        at = integer(table, {ADDRESSES_AT})
        for k in range(integer(table, {ADDRESSES})):
            put(own, integer(at, 0), buffers + integer(at, 1) - first * integer(at, 2))
            at = at + {8 * ADDRESS_FIELDS}
        at = integer(table, {STRIP_STEPS_AT})
        for k in range(integer(table, {STRIP_STEPS})):
            rows = integer(at, 2)
            operands = own + 8 * integer(at, 1)
            status = call_kernel(integer(at, 0), operands, first * rows, last * rows)
            if status != 0:
                break
            at = at + 24
        if status != 0:
            break
        first = last
    atomic_write(taken, part, 0)
    return status
""")


def row_sum_source(code: str) -> KernelSource:
    """The sum over a strip's rows, added to that of its chunk: operands are the rows, elements from
    one to the next, the sums of the chunks, elements of a row, rows of a chunk."""
    return quick(f"""\
def kernel(table, start, stop):
    rows = integer(table, 0)
    step = integer(table, 1)
    count = integer(table, 3)
    chunk = integer(table, 4)
    to = integer(table, 2) + start // chunk * count * {code[1]}
    if start % chunk == 0:
        columns_{code}(rows, start * step, step, stop - start, to, 0, count)
    else:
        own = stack({MOST_SUMMED})
        columns_{code}(rows, start * step, step, stop - start, own, 0, count)
        for k in range(count):
            keep_{code}(to, k, peek_{code}(to, k) + peek_{code}(own, k))
    return 0
""")


def chunks_source(code: str) -> KernelSource:
    """The sums of chunks, one after another: operands are these, the result, its size, chunks."""
    return KernelSource(f"""\
def kernel(table, start, stop):
    parts = integer(table, 0)
    out = integer(table, 1)
    count = integer(table, 2)
    for k in range(count):
        keep_{code}(out, k, peek_{code}(parts, k))
    for c in range(1, integer(table, 3)):
        for k in range(count):
            keep_{code}(out, k, peek_{code}(out, k) + peek_{code}(parts, c * count + k))
    return 0
""")


FILL_SOURCE = quick("""\
def kernel(table, start, stop):
    fill_zero(integer(table, 0), integer(table, 1))
    return 0
""")
