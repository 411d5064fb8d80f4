"""The tables of matrix products, and of regions that run strip by strip with them."""

from __future__ import annotations

import struct
from typing import Any

from graphad.compile.build import kernel_address
from graphad.compile.functions import blas_threads, lapack_address
from graphad.emit.kernel import Inner
from graphad.lower.memory import aligned
from graphad.lower.program import Product, Strips
from graphad.lower.strips import sums_rows
from graphad.run import executor as x
from graphad.run import layout
from graphad.run.places import Place, later

PRODUCT_SPEED = 8  # multiplications and additions in a tenth of a nanosecond
PRODUCT_GRAIN = 16  # rows or columns that a thread has a multiple of
PRODUCT_TABLE, PRODUCT_SCALARS = 25, 10  # words of a product's table, and behind it
ROW_SUM_TABLE = 5


def _gemm(code: str) -> int:
    return lapack_address({"f8": "dgemm", "f4": "sgemm"}[code])


def product(scope, region) -> None:
    """A matrix product; threads share its batch, its rows or its columns."""
    table = len(scope.writer.data)
    if region.batch != 1:
        kind, stop = x.BY_PRODUCT, region.batch
    elif isinstance(region.m, int) and isinstance(region.n, int) and region.m < region.n:
        kind, stop = x.BY_COLUMN, region.n
    else:
        kind, stop = x.BY_ROW, region.m
    _product_table(scope, region, kind, lambda b: scope.writer.follow(scope.places[b]))
    grain = 1 if kind == x.BY_PRODUCT else PRODUCT_GRAIN
    scope.step(x.PRODUCT_SOURCE, table, region, stop, product_work(region), grain)


def _product_table(scope, region, kind, place_of, chunk=0):
    """The table of a matrix product (see PRODUCT_SOURCE); `place_of` puts an address."""
    w = scope.writer
    dtype = scope.program.buffers[region.c].spec.dtype
    item, one = dtype.itemsize, _bits(1.0, dtype)
    rows = (ord("T" if region.b_turned else "N"), ord("T" if region.a_turned else "N"))
    a_lead, b_lead, c_lead = region.leads
    values = [*rows, region.n, region.m, region.k, one, b_lead, a_lead, _bits(0.0, dtype),
              c_lead]  # fmt: skip
    operands = {6: region.b, 8: region.a, 11: region.c}
    at = len(w.data) + PRODUCT_TABLE
    scalars = iter(range(at, at + len(values)))
    for k in range(13):
        if k in operands:
            place_of(operands[k])
        else:
            w.follow(Place(layout.SELF, 8 * next(scalars), w.relocations))
    a_step, b_step, c_step = (s * item for s in region.steps)
    if kind == x.BY_PRODUCT:
        units = (b_step, a_step, c_step)
    elif kind == x.BY_ROW:
        units = (0, item if region.a_turned else a_lead * item, c_lead * item)
    elif kind == x.BY_COLUMN:
        units = (b_lead * item if region.b_turned else item, 0, item)
    else:
        units = (b_lead * item, a_lead * item, region.m * c_lead * item)
    for value in (_gemm(f"f{item}"), region.batch, b_step, a_step, c_step, kind, *units,
                  *blas_threads(), chunk):  # fmt: skip
        w.put(value)
    assert len(w.data) == at
    for value in values:
        w.put(value)


def held(scope, address: int, table: int, rows) -> tuple[int, int]:
    """(function, table) that call a kernel with as many threads of BLAS as it may use."""
    w, calls = scope.writer, blas_threads()
    if not all(calls):
        return address, table
    own = len(w.data)
    for value in (*calls, w.most_threads, rows, address):
        w.put(value)
    w.follow(Place(layout.SELF, 8 * table, w.relocations))
    return kernel_address(x.HELD_SOURCE), own


def strips(scope, region, kernel) -> None:
    """The tables of the regions, and what of them is different for each strip and thread."""
    w, (kernels,), program = scope.writer, kernel.programs, region.program
    rooms, places = max(w.data[layout.THREADS], 1), strips_memory(region)
    parts = {k: Place(layout.ARENA, scope.end + at, w.relocations) for k, at in places.items()
             if k >= 0}  # fmt: skip
    start, own, steps, work = len(w.data), [], [], 0
    for k, (inner, its) in enumerate(zip(program.regions, kernels, strict=True)):
        at, rows = len(w.data) - start, 1
        if k in parts:
            address = _row_sums(scope, inner, region, parts[k], start, own)
            work += product_work(inner) if isinstance(inner, Product) else its.work
        elif isinstance(inner, Product):
            _product_table(scope, inner, x.BY_ROW,
                                lambda b: _row_pointer(scope, b, region, start, own))  # fmt: skip
            address = kernel_address(x.PRODUCT_SOURCE)
            work += product_work(inner)
        else:
            for b, offset in its.pointers:
                _row_pointer(scope, b, region, start, own, offset)
            for value in its.integers:
                w.put(value)
            assert not its.totals and its.stop % region.rows == 0
            address, rows = w.address_of(its.source, scope.keep), its.stop // region.rows
            work += its.work
        steps.append((address, at, rows))
    tables = strip_bytes(region, kernel)
    _strips_step(scope, region, steps, own, start, rooms, places[-1], work, tables)
    for k, place in parts.items():
        _chunks(scope, program.regions[k], region, place)


def _strips_step(scope, region, steps, own, start, rooms, first, work, tables):
    w = scope.writer
    words = len(w.data) - start
    assert tables == aligned(8 * words)
    room_bytes = tables + region.program.arena_bytes
    memory = Place(layout.ARENA, scope.end + first, w.relocations)
    w.arena_bytes = later(w.arena_bytes, scope.end + first + rooms * room_bytes)
    lists = []
    for entries in (steps, own):
        lists += [len(entries), len(w.data)]
        for value in (v for entry in entries for v in entry):
            w.put(value)
    taken = len(w.data)
    w.data += [0] * rooms

    def own_address(slot):
        w.follow(Place(layout.SELF, 8 * slot, w.relocations))

    table = len(w.data)
    own_address(start)
    for value in (words, region.program.arena_bytes, region.strip, lists[0]):
        w.put(value)
    own_address(lists[1])
    w.put(lists[2])
    own_address(lists[3])
    own_address(taken)
    w.follow(memory)
    for value in (room_bytes, rooms):
        w.put(value)
    scope.step(x.STRIPS_SOURCE, table, region, region.rows, work, region.chunk)


def _row_sums(scope, inner, region, place, start, own) -> int:
    """The table of a sum over the rows, of which each chunk has its part; its function."""
    w = scope.writer
    if isinstance(inner, Product):
        at = {inner.a: None, inner.b: None}

        def place_of(b):
            if b in at:
                _row_pointer(scope, b, region, start, own)
            else:
                w.follow(place)

        _product_table(scope, inner, x.BY_TERM, place_of, region.chunk)
        return kernel_address(x.PRODUCT_SOURCE)
    (load,), (store,) = inner.body, inner.stores
    _row_pointer(scope, load.buffer, region, start, own, load.at.offset)
    w.put(load.at.strides[0])
    w.follow(place)
    w.put(inner.space[1])
    w.put(region.chunk)
    dtype = scope.program.buffers[store.buffer].spec.dtype
    return kernel_address(x.row_sum_source(f"f{dtype.itemsize}"))


def _chunks(scope, inner, region, place):
    """The step that adds up the chunks of a sum."""
    (out,) = inner.writes()
    w, spec = scope.writer, scope.program.buffers[out].spec
    table = len(w.data)
    w.follow(place)
    w.follow(scope.places[out])
    w.put(spec.size)
    w.put(-(-region.rows // region.chunk))
    scope.step(x.chunks_source(f"f{spec.dtype.itemsize}"), table, region)


def _row_pointer(scope, b, region, start, own, offset=0):
    """An address, of which a loop counts rows from the first of all."""
    w = scope.writer
    item = scope.program.buffers[b].spec.dtype.itemsize
    if b not in region.row_of:
        w.follow(scope.places[b], offset * item)
        return
    here = region.program.offsets[b] + offset * item
    own.append((w.put(0) - start, here, region.row_of[b] * item))


def product_work(region: Product) -> Any:
    """About how many tenths of a nanosecond a product takes."""
    work = 2 * region.m * region.n * region.k * region.batch
    return work // PRODUCT_SPEED if isinstance(work, int) else work


def strips_memory(region: Strips) -> dict[int, int]:
    """Where in a region's memory the chunks of each of its sums lie, and at -1 their end, from
    where on each thread has its own."""
    found, total = {}, 0
    for k, inner in enumerate(region.program.regions):
        if sums_rows(inner, region.rows):
            (out,) = inner.writes()
            found[k] = total
            chunks = -(-region.rows // region.chunk)
            total += aligned(chunks * region.program.buffers[out].bytes)
    return found | {-1: total}


def strip_bytes(region: Strips, kernel: Inner) -> int:
    """Bytes of the tables that each thread has of its own."""
    words = 0
    for inner, its in zip(region.program.regions, *kernel.programs, strict=True):
        if isinstance(inner, Product):
            words += PRODUCT_TABLE + PRODUCT_SCALARS
        elif sums_rows(inner, region.rows):
            words += ROW_SUM_TABLE
        else:
            words += len(its.pointers) + len(its.integers)
    return aligned(8 * words)


def _bits(value: float, dtype) -> int:
    if dtype.itemsize == 8:
        return struct.unpack("<q", struct.pack("<d", value))[0]
    return struct.unpack("<i", struct.pack("<f", value))[0]
