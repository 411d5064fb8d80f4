"""The frame of a call, declared once for all who read or write it.

A program is an image: an array of 64-bit integers, a header and records behind it. Each call works
on a copy, its frame. Python writes images (`image.py`), the gate and the entries of `@njit` code
fill frames in (`gate.py`, `entry.py`, `frame.py`), the executor walks them (`executor.py`).
"""

from __future__ import annotations

# The header's slots. EXECUTE, PREPARE, LAYOUT, FINISH, RUN and TEAM are addresses of functions;
# LAYOUT is 0 when all dims are static. POOL, in the image, is an arena kept for the next call.
# FAILED is the step that failed, RUN runs some of the steps, THREADS is the most for one kernel,
# TEAM the address of the threads (see team.py).
(LENGTH, EXECUTE, PREPARE, LAYOUT, INPUTS_AT, INPUTS, RELOCATIONS_AT, RELOCATIONS, STEPS_AT, STEPS,
 ARENA_BYTES, ARENA, SYMBOLS_AT, SELF, IMAGE, POOL, FAILED, FINISH, CAPTURED_AT, CAPTURED, THREADS,
 TEAM, RUN, WATCHED_AT, WATCHED, HEADER) = range(26)  # fmt: skip
SHARE = 3  # slot of the team: the function that shares a loop

# An input, and a captured array: address, rank, item size, bits (of a scalar, or the address of a
# packed copy), then rank times shape, strides, kind of check, value to check.
ADDRESS, RANK, ITEM, BITS, INPUT_FIELDS = range(5)
EQUAL, BIND, SAME = 0, 1, 2  # the dim equals a number; names a symbol; equals a known symbol

# An output: the same four fields, then its shape.
OUTPUT_FIELDS = 4

WATCHED_FIELDS = 2  # an address, the word that must be there: captured arrays stay in their place

RELOCATION_FIELDS = 3  # slot to set, slot of the base address, bytes to add
STEP_FIELDS = 6  # kernel, slot of its table, start, stop, work (0: not to be split), grain


def input_words(rank: int) -> int:
    """Slots of an input's record."""
    return INPUT_FIELDS + 4 * rank


def output_words(rank: int) -> int:
    """Slots of an output's record."""
    return OUTPUT_FIELDS + rank
