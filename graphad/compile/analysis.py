"""What is found out about a source before it is translated: which variables need no memory, and
how LLVM is to vectorise which loops."""

from __future__ import annotations

import ast
import math
import re
from typing import Any

from graphad.compile.words import MATHEMATICS
from graphad.emit.source import KernelSource
from graphad.emit.target import Target

# LLVM does not interleave long bodies, whose steps then wait for each other. For loops of fewer
# than so many words of mathematics: how many vectors at a time, and whether the last elements are a
# vector with a mask, where the CPU has masks, instead of copies of the loop (docs/design.md,
# "Arithmetic bodies"): that compiles faster, and costs a slow store.
INTERLEAVED = ((3, 4, False), (5, 4, True), (7, 2, True), (math.inf, 1, True))
_LOOP = re.compile(r'!(\d+) = !{ !"interleave (\d+) (True|False) \d+" }')


def with_loop_options(text: str, target: Target) -> str:
    """LLVM's text with its options in place of our marks: llvmlite has no distinct metadata."""

    def options(found):
        place, count, masked = found.groups()
        chosen = f'!{{ !"llvm.loop.interleave.count", i32 {count} }}'
        if masked == "True" and target.bits == 512:
            chosen += ', !{ !"llvm.loop.vectorize.predicate.enable", i1 1 }'
        return f"!{place} = distinct !{{ !{place}, {chosen} }}"

    return _LOOP.sub(options, text)


def vector_loops(
    source: KernelSource, definition, plain: set[str], target: Target
) -> dict[int, tuple[int, bool]]:
    """By line, the innermost loops of mathematics that carry nothing from one step to the next: how
    many vectors at a time they are to compute, and whether their ends are masked."""
    found: dict[int, tuple[int, bool]] = {}
    if MATHEMATICS.isdisjoint(source.words):
        return found
    for loop in [n for n in ast.walk(definition) if isinstance(n, ast.For)]:
        inside = [n for s in loop.body for n in ast.walk(s)]
        if any(isinstance(n, ast.For | ast.While) for n in inside):
            continue
        names = [n for n in inside if isinstance(n, ast.Name)]
        words = sum(n.id in MATHEMATICS for n in names)
        kept = {n.id for n in names if isinstance(n.ctx, ast.Store)}
        if words and kept <= plain:
            at_once, masked = next((n, m) for most, n, m in INTERLEAVED if words < most)
            found[loop.lineno] = _few(loop, at_once, masked, target)
    return found


def _few(loop: ast.For, at_once: int, masked: bool, target: Target) -> tuple[int, bool]:
    """The same for a loop of so few steps that all of them are fewer vectors."""
    count = loop.iter.args[-1] if isinstance(loop.iter, ast.Call) else None
    if not isinstance(count, ast.Constant) or not isinstance(count.value, int):
        return at_once, masked
    vectors = count.value * 64 // target.bits
    return max(1, min(at_once, vectors)), masked or vectors < at_once


def _names(value) -> list[ast.Name]:
    """The names in an expression or a list of some; `ast.walk` takes three times as long."""
    found, todo = [], list(value) if isinstance(value, list) else [value]
    while todo:
        n = todo.pop()
        if isinstance(n, ast.Name):
            found.append(n)
        elif isinstance(n, ast.AST):
            for field in n._fields:
                part = getattr(n, field, None)
                if isinstance(part, list):
                    todo += part
                elif isinstance(part, ast.AST):
                    todo.append(part)
    return found


def plain_names(definition) -> set[str]:
    """Variables that need no place in memory: set once, and read only in that block or inside."""
    homes: dict[str, list[tuple]] = {}
    uses: list[tuple[str, tuple]] = []
    stack: list[tuple[Any, tuple]] = [(definition.body, ())]
    while stack:
        statements, path = stack.pop()
        for k, s in enumerate(statements):
            inner = getattr(s, "body", None) if not isinstance(s, ast.Expr) else None
            here = (*path, k)
            for field, value in ast.iter_fields(s):
                if field in ("body", "orelse") and inner is not None:
                    stack.append((value, (*here, field)))
                    continue
                owner = (*here, "body") if isinstance(s, ast.For) and field == "target" else path
                for n in _names(value):
                    if isinstance(n.ctx, ast.Store):
                        twice = isinstance(s, ast.AugAssign)
                        homes.setdefault(n.id, []).extend([owner] * (1 + twice))
                    else:
                        uses.append((n.id, path))
    plain = {name for name, at in homes.items() if len(at) == 1}
    for name, path in uses:
        if name in plain and path[: len(homes[name][0])] != homes[name][0]:
            plain.discard(name)
    return plain
