"""Factorisations and solves by LAPACK and BLAS, matrix by matrix of a batch.

Matrices lie row by row; LAPACK reads them column by column, that is as their transposes. Each
kernel says how it makes that right.
"""

from __future__ import annotations

from dataclasses import replace

from graphad import status
from graphad.emit.kernel import Kernel, code_of
from graphad.emit.routines import declare
from graphad.emit.source import Facts, KernelSource
from graphad.lower.program import Routine
from graphad.spec import size_of

HEAD = """\
def kernel(table, start, stop):
    small = stack(128)
    one = small + 64
    keep_{code}(one, 0, {code}(1.0))
    info = small + 72
    keep_i4(info, 0, i4(0))
    zero = small + 76
    keep_i4(zero, 0, i4(0))
"""


def _kernel(region: Routine, body: str, sizes, rows) -> Kernel:
    """A kernel over the matrices of the batch, which one thread runs."""
    code = code_of(region.inputs[0].dtype)
    body = HEAD + body
    prefix = "d" if code == "f8" else "s"
    for name in ("potrf", "trsm", "getrf", "syevd", "geev", "geqrf", "orgqr", "gesdd"):
        body = body.replace(f"?{name}", f"lapack_{prefix}{name}")
    for name in ("SINGULAR", "NOT_POSITIVE", "NOT_CONVERGED", "NOT_REAL"):
        body = body.replace(f"{{{name}}}", str(getattr(status, name)))
    text = body.replace("{code}", code).replace("{item}", code[1]) + "    return 0\n"
    buffers = (*region.operands, *region.results, *region.scratch)
    largest = sizes[0] if len(sizes) == 1 or not isinstance(sizes[0], int) else max(
        (n for n in sizes if isinstance(n, int)), default=0)  # fmt: skip
    lines = tuple([region.where] * (text.count("\n") + 1))
    source = KernelSource(text, Facts(fails=True))
    places = tuple((b, 0) for b in buffers)
    return Kernel(source, places, (*sizes, rows), 0, lines, blas=largest)


def _letters(*letters: str) -> str:
    """Statements that put characters at the start of `small`, 8 bytes apart."""
    return "".join(f"    keep_i8(small, {k}, {ord(c)})\n" for k, c in enumerate(letters))


@declare("cholesky")
def _cholesky(region: Routine) -> Kernel:
    """The transpose of a row-wise lower triangle is a column-wise upper one: a = u^T u."""
    a = region.inputs[0]
    body = (
        """\
    n = integer(table, 2)
"""
        + _letters("U")
        + """\
    keep_i4(small, 2, i4(n))
    size = n * n * {item}
    for k in range(integer(table, 3)):
        to = integer(table, 1) + k * size
        copy_bytes(to, integer(table, 0) + k * size, size)
        ?potrf(small, small + 8, to, small + 8, info)
        if peek_i4(info, 0) != i4(0):
            return {NOT_POSITIVE}
        for r in range(n):
            fill_zero(to + (r * n + r + 1) * {item}, (n - r - 1) * {item})
"""
    )
    return _kernel(region, _guarded(body, a.shape[-1]), (a.shape[-1],), size_of(a.shape[:-2]))


# Of x^T a^T = b^T, with a^T as LAPACK reads a: `n` rows and columns of a, `m` columns of b.
_TRSM = """\
        ?trsm({side}, {uplo}, {trans}, {unit}, count, order, one, {a}, order, {b}, count)
"""


def _sizes(first: int) -> str:
    """What _TRSM reads, the rows and columns of b from this place of the table on."""
    return f"""\
    n = integer(table, {first})
    m = integer(table, {first + 1})
    count = small + 40
    order = small + 44
    keep_i4(count, 0, i4(m))
    keep_i4(order, 0, i4(n))
"""


@declare("triangular_solve")
def _triangular(region: Routine) -> Kernel:
    a, b = region.inputs
    low, turned, unit = (region.param(p) for p in ("low", "turned", "unit"))
    n, m = b.shape[-2:]
    check = (
        ""
        if unit
        else """\
        for r in range(n):
            if peek_{code}(matrix, r * n + r) == {code}(0.0):
                return {SINGULAR}
"""
    )
    letters = ("R", "U" if low else "L", "T" if turned else "N", "U" if unit else "N")
    body = _sizes(3) + _letters(*letters) + """\
    for k in range(integer(table, 5)):
        matrix = integer(table, 0) + k * n * n * {item}
        to = integer(table, 2) + k * n * m * {item}
        copy_bytes(to, integer(table, 1) + k * n * m * {item}, n * m * {item})
""" + check + _TRSM.format(side="small", uplo="small + 8", trans="small + 16", unit="small + 24",
                           a="matrix", b="to")  # fmt: skip
    return _kernel(region, _guarded(body, n, m), (n, m), size_of(a.shape[:-2]))


def _guarded(body: str, *sizes) -> str:
    """A body that does nothing where a static size is 0, which LAPACK does not take."""
    return "    return 0\n" if any(isinstance(s, int) and s == 0 for s in sizes) else body


@declare("lu")
def _lu(region: Routine) -> Kernel:
    """By columns in scratch memory, then back by rows; the pivots become an order of the rows."""
    a = region.inputs[0]
    n = a.shape[-1]
    body = """\
    n = integer(table, 4)
    keep_i4(small, 0, i4(n))
    for k in range(integer(table, 5)):
        matrix = integer(table, 0) + k * n * n * {item}
        to = integer(table, 1) + k * n * n * {item}
        order = integer(table, 2) + k * n * 8
        work = integer(table, 3)
        for r in range(n):
            for c in range(n):
                keep_{code}(work, c * n + r, peek_{code}(matrix, r * n + c))
        ?getrf(small, small, work, small, order, info)
        for r in range(n):
            for c in range(n):
                keep_{code}(to, r * n + c, peek_{code}(work, c * n + r))
        for r in range(n):
            c = n - 1 - r
            keep_i8(order, c, i8(peek_i4(order, c)) - 1)
        for r in range(n):
            keep_i8(work, r, r)
        for r in range(n):
            other = peek_i8(order, r)
            mine = peek_i8(work, r)
            keep_i8(work, r, peek_i8(work, other))
            keep_i8(work, other, mine)
        copy_bytes(order, work, n * 8)
"""
    return _kernel(region, _guarded(body, n), (n,), size_of(a.shape[:-2]))


@declare("solve")
def _solve(region: Routine) -> Kernel:
    """b in the order of the rows, then two triangular solves; backward for the transpose."""
    a, _, _, b = region.inputs
    n, m = b.shape[-2:]
    unit = dict(side="small", a="factors", b="to")
    lower = _TRSM.format(uplo="small + 8", trans="{t}", unit="small + 8", **unit)
    upper = _TRSM.format(uplo="small + 16", trans="{t}", unit="small + 24", **unit)
    move = """\
        for r in range(n):
            there = {other} * m * {item}
            copy_bytes(to + {mine} * m * {item}, there + source, m * {item})
"""
    body = (
        _sizes(5)
        + _letters("R", "U", "L", "N", "T")
        + """\
    for k in range(integer(table, 7)):
        factors = integer(table, 1) + k * n * n * {item}
        places = integer(table, 2) + k * n * 8
        source = integer(table, 3) + k * n * m * {item}
        to = integer(table, 4) + k * n * m * {item}
        for r in range(n):
            if peek_{code}(factors, r * n + r) == {code}(0.0):
                return {SINGULAR}
"""
    )
    if not region.param("turned"):
        body += move.replace("{other}", "peek_i8(places, r)").replace("{mine}", "r")
        body += lower.replace("{t}", "small + 24") + upper.replace("{t}", "small + 24")
    else:
        body += "        final = to\n        to = allocate(n * m * {item})\n"
        body += "        if to == 0:\n            return 3\n"
        body += "        copy_bytes(to, source, n * m * {item})\n"
        body += upper.replace("{t}", "small + 32") + lower.replace("{t}", "small + 32")
        body += """\
        for r in range(n):
            copy_bytes(final + peek_i8(places, r) * m * {item}, to + r * m * {item}, m * {item})
        release(to)
"""
    return _kernel(region, _guarded(body, n, m), (n, m), size_of(a.shape[:-2]))


@declare("eigh")
def _eigh(region: Routine) -> Kernel:
    """Eigenvectors come in LAPACK's columns, our rows: transposed in place."""
    a = region.inputs[0]
    n = a.shape[-1]
    body = (
        """\
    n = integer(table, 5)
    keep_i4(small + 32, 0, i4(n))
    keep_i4(small + 36, 0, i4(1 + 6 * n + 2 * n * n))
    keep_i4(small + 40, 0, i4(3 + 5 * n))
"""
        + _letters("V", "U")
        + """\
    size = n * n * {item}
    for k in range(integer(table, 6)):
        w = integer(table, 1) + k * n * {item}
        v = integer(table, 2) + k * size
        copy_bytes(v, integer(table, 0) + k * size, size)
        ?syevd(small, small + 8, small + 32, v, small + 32, w, integer(table, 3), small + 36,
               integer(table, 4), small + 40, info)
        if peek_i4(info, 0) != i4(0):
            return {NOT_CONVERGED}
        for r in range(n):
            for c in range(r):
                x = peek_{code}(v, r * n + c)
                keep_{code}(v, r * n + c, peek_{code}(v, c * n + r))
                keep_{code}(v, c * n + r, x)
"""
    )
    return _kernel(region, _guarded(body, n), (n,), size_of(a.shape[:-2]))


@declare("eig")
def _eig(region: Routine) -> Kernel:
    """By columns in scratch memory. A conjugate pair of vectors comes as two columns, the real and
    the imaginary part of the first."""
    a = region.inputs[0]
    n = a.shape[-1]
    body = (
        """\
    n = integer(table, 6)
    keep_i4(small + 32, 0, i4(n))
    keep_i4(small + 36, 0, i4(64 * n))
    matrix = integer(table, 5)
    vectors = matrix + n * n * {item}
    work = vectors + n * n * {item}
"""
        + _letters("N", "V")
        + """\
    for k in range(integer(table, 7)):
        a = integer(table, 0) + k * n * n * {item}
        real = integer(table, 1) + k * n * {item}
        imag = integer(table, 2) + k * n * {item}
        v = integer(table, 3) + k * n * n * {item}
        u = integer(table, 4) + k * n * n * {item}
        for r in range(n):
            for c in range(n):
                keep_{code}(matrix, c * n + r, peek_{code}(a, r * n + c))
        ?geev(small, small + 8, small + 32, matrix, small + 32, real, imag, vectors, small + 32,
              vectors, small + 32, work, small + 36, info)
        if peek_i4(info, 0) != i4(0):
            return {NOT_CONVERGED}
        fill_zero(u, n * n * {item})
        for c in range(n):
            part = peek_{code}(imag, c)
            for r in range(n):
                x = peek_{code}(vectors, c * n + r)
                if part > {code}(0.0):
                    keep_{code}(v, r * n + c, x)
                    keep_{code}(u, r * n + c, peek_{code}(vectors, (c + 1) * n + r))
                elif part < {code}(0.0):
                    keep_{code}(v, r * n + c, peek_{code}(vectors, (c - 1) * n + r))
                    keep_{code}(u, r * n + c, -x)
                else:
                    keep_{code}(v, r * n + c, x)
"""
    )
    return _kernel(region, _guarded(body, n), (n,), size_of(a.shape[:-2]))


@declare("qr")
def _qr(region: Routine) -> Kernel:
    """By columns in scratch memory: r is read off its upper triangle, then q made in its place."""
    a = region.inputs[0]
    m, n = a.shape[-2:]
    body = """\
    m = integer(table, 4)
    n = integer(table, 5)
    p = min(m, n)
    keep_i4(small, 0, i4(m))
    keep_i4(small, 1, i4(n))
    keep_i4(small, 2, i4(p))
    keep_i4(small, 3, i4(64 * n))
    work = integer(table, 3)
    scales = work + m * n * {item}
    more = scales + n * {item}
    for k in range(integer(table, 6)):
        matrix = integer(table, 0) + k * m * n * {item}
        q = integer(table, 1) + k * m * p * {item}
        triangle = integer(table, 2) + k * p * n * {item}
        for r in range(m):
            for c in range(n):
                keep_{code}(work, c * m + r, peek_{code}(matrix, r * n + c))
        ?geqrf(small, small + 4, work, small, scales, more, small + 12, info)
        for r in range(p):
            for c in range(n):
                x = peek_{code}(work, c * m + r) if c >= r else {code}(0.0)
                keep_{code}(triangle, r * n + c, x)
        ?orgqr(small, small + 8, small + 8, work, small, scales, more, small + 12, info)
        for r in range(m):
            for c in range(p):
                keep_{code}(q, r * p + c, peek_{code}(work, c * m + r))
"""
    return _kernel(region, _guarded(body, m, n), (m, n), size_of(a.shape[:-2]))


@declare("svd")
def _svd(region: Routine) -> Kernel:
    """LAPACK reads a^T = v s u^T: its u is our vh row by row, its vt our u."""
    a = region.inputs[0]
    m, n = a.shape[-2:]
    body = (
        """\
    m = integer(table, 7)
    n = integer(table, 8)
    p = min(m, n)
    keep_i4(small + 8, 0, i4(n))
    keep_i4(small + 12, 0, i4(m))
    keep_i4(small + 16, 0, i4(p))
    large = max(m, n)
    keep_i4(small + 20, 0, i4(4 * p * p + 7 * p + 64 * (large + p) + large))
"""
        + _letters("S")
        + """\
    for k in range(integer(table, 9)):
        u = integer(table, 1) + k * m * p * {item}
        s = integer(table, 2) + k * p * {item}
        vh = integer(table, 3) + k * p * n * {item}
        copy_bytes(integer(table, 4), integer(table, 0) + k * m * n * {item}, m * n * {item})
        ?gesdd(small, small + 8, small + 12, integer(table, 4), small + 8, s, vh, small + 8, u,
               small + 16, integer(table, 5), small + 20, integer(table, 6), info)
        if peek_i4(info, 0) != i4(0):
            return {NOT_CONVERGED}
"""
    )
    return _kernel(region, _guarded(body, m, n), (m, n), size_of(a.shape[:-2]))


@declare("real_result")
def _real_result(region: Routine) -> Kernel:
    """The matrices as they are, if each has a real result."""
    x = region.inputs[0]
    body = """\
    for k in range(integer(table, 4)):
        if not peek_b1(integer(table, 1), k):
            return {NOT_REAL}
    copy_bytes(integer(table, 2), integer(table, 0), integer(table, 3) * {item})
"""
    kernel = _kernel(region, body, (size_of(x.shape),), size_of(region.inputs[1].shape))
    return replace(kernel, blas=None)
