"""The threads that share long loops: made once a process, awake while there is work.

A worker that has finished waits for more in a busy loop for some tens of microseconds and then
sleeps, so that the regions of a program follow each other at no cost and an idle process costs
nothing. One call has the team at a time; others run alone. A forked child makes its own.
"""

from __future__ import annotations

import os

import numpy as np

from graphad.compile.build import build, kernel_address
from graphad.compile.functions import blas_threads
from graphad.emit.source import quick
from graphad.process.once import once

# The team: an array of integers, then a slot for each worker.
LOCK, PROCESS, WORKERS, SHARE, WORK, BLAS_GET, BLAS_SET = range(7)
MOST_WORKERS = 255
SLOT = 16  # words: state, kernel, table, start, stop, status, done, core; the semaphore from word 8
STATE, STATUS, DONE, CORE, SEMAPHORE = 0, 5, 6, 7, 8
IDLE, POSTED, ASLEEP = 0, 1, 2
SPINS = 2_000  # pauses of some 40 ns

WORK_SOURCE = quick(f"""\
def work(own):
    while True:
        spins = 0
        while atomic_read(own, {STATE}) != {POSTED}:
            spins += 1
            if spins < {SPINS}:
                pause()
            else:
                if compare_exchange(own, {STATE}, {IDLE}, {ASLEEP}) == {IDLE}:
                    while atomic_read(own, {STATE}) == {ASLEEP}:
                        semaphore_wait(slot(own, {SEMAPHORE}))
                spins = 0
        atomic_write(own, {STATE}, {IDLE})
        core = core_number()
        if core == integer(own, {CORE}):  # woken where the caller runs, which is not done yet
            leave_core(core)
        status = call_kernel(integer(own, 1), integer(own, 2), integer(own, 3), integer(own, 4))
        put(own, {STATUS}, status)
        atomic_write(own, {DONE}, 1)
    return 0
""")

SHARE_SOURCE = quick(f"""\
def share(team, address, table, start, stop, parts, grain):
    process = integer(team, {PROCESS})
    here = process_number()
    if process != here:
        if compare_exchange(team, {PROCESS}, process, here) == process:
            put(team, {WORKERS}, 0)
            atomic_write(team, {LOCK}, 0)
    if exchange(team, {LOCK}, 1) != 0:
        return call_kernel(address, table, start, stop)
    workers = integer(team, {WORKERS})
    threads = 0
    if integer(team, {BLAS_SET}) != 0:  # the threads of BLAS would be in the way of ours
        threads = invoke0(integer(team, {BLAS_GET})) & 65535
        if threads > 1:
            invoke1(integer(team, {BLAS_SET}), 1)
    parts = min(parts, {MOST_WORKERS})
    while workers < parts - 1:
        own = slot(team, {SLOT} * (workers + 1))
        put(own, {STATE}, {IDLE})
        put(own, {DONE}, 0)
        if not start_thread(integer(team, {WORK}), own, slot(own, {SEMAPHORE})):
            break
        workers += 1
    put(team, {WORKERS}, workers)
    parts = min(parts, workers + 1)
    for p in range(1, parts):
        own = slot(team, {SLOT} * p)
        first = (stop - start) * p // parts // grain * grain
        last = (stop - start) * (p + 1) // parts // grain * grain
        put(own, 1, address)
        put(own, 2, table)
        put(own, 3, start + first)
        put(own, 4, stop if p == parts - 1 else start + last)
        put(own, {CORE}, core_number())
        if exchange(own, {STATE}, {POSTED}) == {ASLEEP}:
            semaphore_post(slot(own, {SEMAPHORE}))
    first = (stop - start) // parts // grain * grain
    status = call_kernel(address, table, start, start + first if parts > 1 else stop)
    for p in range(1, parts):
        own = slot(team, {SLOT} * p)
        spins = 0
        while atomic_read(own, {DONE}) == 0:
            spins += 1
            if spins < {SPINS}:
                pause()
            else:
                let_others_run()
        put(own, {DONE}, 0)
        status = max(status, integer(own, {STATUS}))
    if threads > 1:
        invoke1(integer(team, {BLAS_SET}), threads)
    atomic_write(team, {LOCK}, 0)
    return status
""")


TEAM_SOURCES = (SHARE_SOURCE, WORK_SOURCE)


@once
def _team() -> np.ndarray:
    words = np.zeros(SLOT * (MOST_WORKERS + 2), np.int64)
    words = words[-words.ctypes.data % 128 // 8 :][: SLOT * (MOST_WORKERS + 1)]  # whole lines
    build(TEAM_SOURCES)
    words[PROCESS] = os.getpid()
    words[SHARE], words[WORK] = kernel_address(SHARE_SOURCE), kernel_address(WORK_SOURCE)
    return words


def team_address(blas: bool = False) -> int:
    """Where this process's team is; `blas`: its members will call BLAS."""
    team = _team()
    if blas and not team[BLAS_SET]:
        team[BLAS_GET], team[BLAS_SET] = blas_threads()
    return team.ctypes.data
