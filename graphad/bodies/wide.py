"""What AVX-512 does in an instruction and other CPUs in several: exponents, scaling, small tables.

Each is a function of one element, in plain arithmetic. In a loop that LLVM may vectorise it is,
where the CPU has something for it, a call of a function that is not defined there, with vector
forms of a few instructions; after vectorisation forms and definitions are linked in and inlined
(`definitions`). Values are the same bits either way.

Tables are calls on every CPU: of one whose gathers are slow LLVM computes the places of loads, and
all that they depend on, one element at a time.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any
from zlib import crc32

from llvmlite import ir

from graphad.bodies.real import (
    DOUBLE,
    FORMATS,
    Format,
    Real,
    declared,
    keep,
    on_cuda,
    power_of_two,
)
from graphad.emit.source import KernelSource
from graphad.emit.target import Module

PREFIX = "graphad_wide_"
LINKED = "\n; what is linked after vectorisation\n"
I32 = ir.IntType(32)
Table = tuple[float, ...]
ENTRIES = 16  # of a table: what two vectors of f64 hold
ROUNDING = 4  # as the CPU is set
INTERVAL, NAN_IF_NEGATIVE = 3, 8  # mantissas in [3/4, 3/2)
CONSTANT_SPACE = 4  # of a GPU


def exponent(x: Real, normal: bool = False, usual: bool = False) -> Real:
    """e of |x| = 2**e m with 3/4 <= m < 3/2; -inf for 0, inf for infinity, nan for nan. `normal`
    says that x is not subnormal, `usual` that it also is positive and finite, which saves steps
    where there is no instruction."""
    if _by_calls(x):
        return _call("exponent", x)
    return _parts(x, True)[0] if usual else _exponent(x, normal)


def mantissa(x: Real, normal: bool = False, usual: bool = False) -> Real:
    """That m; 1 or -1 for ±0, 1 for inf, nan for x < 0."""
    if _by_calls(x):
        return _call("mantissa", x)
    return _parts(x, True)[1] if usual else _mantissa(x, normal)


def _bits(b) -> int:
    """Of the vectors that bodies may be called with; 0 if they are called for one element only."""
    return b.module.target.bits if hasattr(b.module, "graphad_wide") else 0


def _by_calls(x: Real) -> bool:
    """Whether there are instructions for more than tables."""
    return _bits(x.b) == 512


def scaled(x: Real, k: Real, whole: Callable[[], Any] | None = None) -> Real:
    """x 2**floor(k), rounded once, for |k| <= 2200; `whole` makes floor(k) as an integer, which is
    faster where it has to be one."""
    if _by_calls(x):
        return _call("scaled", x, k)
    return _scaled(x, k) if whole is None else _by_halves(x, whole())


def looked_up(like: Real, table: Table, index) -> Real:
    """table[index % 16], in the format of `like`."""
    assert len(table) == ENTRIES
    return _call(table, like, index)


def of_integer(b, value, signed: bool):
    """An integer of 64 bits as f64, rounded once: without AVX-512's instruction from two halves,
    each in the low bits of a double, whose exponents are taken off before they are added."""
    if _bits(b) != 256:
        return (b.sitofp if signed else b.uitofp)(value, DOUBLE.real)

    def half(bits, power: int, more: int = 0):
        mark = Real(b, DOUBLE, ir.Constant(DOUBLE.real, 2.0**power)).bits()
        return b.bitcast(b.xor(bits, b.xor(mark, ir.Constant(value.type, more))), DOUBLE.real)

    sign = 1 << 31 if signed else 0
    high = half(b.lshr(value, ir.Constant(value.type, 32)), 84, sign)
    low = half(b.and_(value, ir.Constant(value.type, (1 << 32) - 1)), 52)
    taken = 2.0**84 + 2.0**52 + sign * 2.0**32
    return b.fadd(b.fsub(high, ir.Constant(DOUBLE.real, taken)), low)


# -- one element -----------------------------------------------------------------------------------
def _parts(x: Real, normal: bool):
    """(e as a Real, m) by integers, for x > 0."""
    f, up, shift = x.f, x, None
    if not normal:
        tiny = x < f.smallest_normal
        up = (x * 2.0 ** (f.mantissa + 2)).where(tiny, x)
        shift = x.like(-(f.mantissa + 2)).where(tiny, 0.0)
    least = x.like(0.75).bits()
    e = x.b.ashr(x.b.sub(up.bits(), least), x.whole(f.mantissa))
    m = x.from_bits(x.b.sub(up.bits(), x.b.shl(e, x.whole(f.mantissa))))
    whole = x.from_bits(x.b.add(e, x.like(f.round).bits())) - f.round
    return whole if shift is None else whole + shift, m


def _exponent(x: Real, normal: bool = False) -> Real:
    size = x.magnitude()
    e = _parts(size, normal)[0]
    e = x.like(-math.inf).where(size == 0.0, e)
    return size.where(x.b.fcmp_unordered(">=", size.v, x.like(math.inf).v), e)


def _mantissa(x: Real, normal: bool = False) -> Real:
    one = x.like(1.0)
    m = one.where(x == math.inf, _parts(x.magnitude(), normal)[1])
    m = x.like(math.nan).where(x.b.fcmp_unordered("<", x.v, x.like(0.0).v), m)
    return one.with_sign_of(x).where(x == 0.0, m)


def _scaled(x: Real, k: Real) -> Real:
    t = k.floor() + x.f.round
    return _by_halves(x, x.b.sub(t.bits(), x.like(x.f.round).bits()))


def _by_halves(x: Real, whole) -> Real:
    half = x.b.ashr(whole, x.whole(1))
    return (x * power_of_two(x, half)) * power_of_two(x, x.b.sub(whole, half))


def _entry(b, fmt: Format, table: Table, index):
    """An element of a constant array."""
    kind = ir.ArrayType(fmt.real, ENTRIES)
    module = b.module
    name = f"graphad_table_{len(module.globals)}"
    known = module.__dict__.setdefault("graphad_tables", {})
    key = fmt.code, table
    if key not in known:
        space = {"addrspace": CONSTANT_SPACE} if on_cuda(b) else {}
        made: Any = ir.GlobalVariable(module, kind, name, **space)
        made.global_constant, made.linkage = True, "internal"
        made.initializer = ir.Constant(kind, list(table))
        known[key] = made
    array = known[key]
    if on_cuda(b):
        array = b.addrspacecast(array, ir.PointerType(kind))
    first = b.bitcast(array, fmt.real.as_pointer())
    place = b.and_(index, ir.Constant(index.type, ENTRIES - 1))
    value = b.load(b.gep(first, [place], source_etype=fmt.real), typ=fmt.real)
    scopes = getattr(module, "_graphad_scopes", None)
    if scopes is not None:  # nothing stores there: LLVM would not vectorise loops that might
        scopes.mark(value, "loads", array)
    return value


def _scalar(b, fmt: Format, name: str | Table, values):
    """The value of a function for one element."""
    if isinstance(name, tuple):
        return _entry(b, fmt, name, values[0])
    reals = [Real(b, fmt, v) for v in values]
    return {"exponent": _exponent, "mantissa": _mantissa, "scaled": _scaled}[name](*reals).v


# -- calls -----------------------------------------------------------------------------------------
def _call(name: str | Table, x: Real, *others) -> Real:
    b, fmt = x.b, x.f
    values = [o.v if isinstance(o, Real) else o for o in others]
    if isinstance(name, str):
        values = [x.v, *values]
    wanted = getattr(b.module, "graphad_wide", None)
    if wanted is None:
        return x._new(_scalar(b, fmt, name, values))
    # A name says what it stands for: kernels are linked together.
    title = name if isinstance(name, str) else f"table_{crc32(repr(name).encode()):08x}"
    full = wanted.setdefault((name, fmt.code), f"{PREFIX}{title}_{fmt.code}")
    kind = ir.FunctionType(fmt.real, [v.type for v in values])
    f = declared(b.module, full, kind)
    if not f.attributes:
        for attribute in ("nounwind", "willreturn", "memory(none)"):
            set.add(f.attributes, attribute)
    out = b.call(f, values)
    forms = [
        f"_ZGV_LLVM_N{n}{'v' * len(values)}_{full}({full}_{n})"
        for n in b.module.graphad_lanes[fmt.code]
    ]
    set.add(out.attributes, f'"vector-function-abi-variant"="{",".join(forms)}"')
    for n in b.module.graphad_lanes[fmt.code]:
        vectors = [ir.VectorType(v.type, n) for v in values]
        form = ir.FunctionType(ir.VectorType(fmt.real, n), vectors)
        if f"{full}_{n}" not in b.module.globals:
            keep(b.module, declared(b.module, f"{full}_{n}", form))
    return x._new(out)


def prepare(module, source: KernelSource) -> None:
    """Let the bodies of a source with loops call vector forms."""
    if module.target.cuda:
        return
    module.graphad_wide = {}
    # LLVM takes as many elements at a time as fit of the widest type in a loop.
    most = module.target.bits // 32
    both = all(any(w.endswith(code) for w in source.words) for code in ("_f8", "_f4"))
    module.graphad_lanes = {"f8": (most // 2, most) if both else (most // 2,),
                            "f4": (most // 2, most) if both else (most,)}  # fmt: skip


def definitions(module) -> str:
    """A module that defines what this one calls; empty if it calls none."""
    wanted = getattr(module, "graphad_wide", None)
    if not wanted:
        return ""
    made = Module(module.target, "graphad_wide")
    for (name, code), full in wanted.items():
        fmt = FORMATS[code]
        kind = module.globals[full].function_type
        b = _started(made, full, kind)
        b.ret(_scalar(b, fmt, name, b.function.args))
        for lanes in module.graphad_lanes[code]:
            vector = module.globals[f"{full}_{lanes}"].function_type
            b = _started(made, f"{full}_{lanes}", vector)
            b.ret(_vector(b, fmt, name, lanes, b.function.args))
    return LINKED + str(made)


def _started(module, name: str, kind) -> ir.IRBuilder:
    f = ir.Function(module, kind, name)
    f.attributes.add("alwaysinline")
    f.linkage = "linkonce_odr"
    return ir.IRBuilder(f.append_basic_block())


# -- vectors ---------------------------------------------------------------------------------------
def _vector(b, fmt: Format, name: str | Table, lanes: int, values):
    """The value of a function for a vector: in halves where it is longer than the CPU's."""
    if lanes * 8 * int(fmt.code[1]) > b.module.target.bits:
        half = lanes // 2
        parts = [_vector(b, fmt, name, half, [_half(b, v, k) for v in values]) for k in range(2)]
        return b.shuffle_vector(*parts, _places(range(lanes)))
    if isinstance(name, tuple):
        chosen = {512: _permuted, 256: _permuted_halves}.get(b.module.target.bits, _one_by_one)
        return chosen(b, fmt, name, lanes, values[0])
    kind = ir.VectorType(fmt.real, lanes)
    suffix = f"{'pd' if fmt.code == 'f8' else 'ps'}.{lanes * 8 * int(fmt.code[1])}"
    mask = ir.IntType(max(lanes, 8))
    more = [ir.Constant(I32, ROUNDING)] if suffix.endswith("512") else []
    undefined = ir.Constant(kind, ir.Undefined)
    every = ir.Constant(mask, (1 << lanes) - 1)

    def instruction(op, *arguments):
        arguments = [*arguments, undefined, every, *more]
        shape = ir.FunctionType(kind, [a.type for a in arguments])
        return b.call(declared(b.module, f"llvm.x86.avx512.mask.{op}.{suffix}", shape), arguments)

    if name == "scaled":
        return instruction("scalef", *values)
    how = ir.Constant(I32, INTERVAL | NAN_IF_NEGATIVE)
    if name == "mantissa":
        return instruction("getmant", values[0], how)
    inner = instruction("getexp", instruction("getmant", values[0], ir.Constant(I32, INTERVAL | 4)))
    return b.fsub(instruction("getexp", values[0]), inner)


def _half(b, value, k: int):
    half = value.type.count // 2
    return _shuffled(b, value, range(half * k, half * k + half))


def _shuffled(b, value, numbers):
    """The elements with these numbers."""
    return b.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), _places(numbers))


def _places(numbers):
    numbers = list(numbers)
    return ir.Constant(ir.VectorType(I32, len(numbers)), numbers)


def _permuted(b, fmt: Format, table: Table, lanes: int, index):
    """A table's elements by permutation of the vectors that hold it."""
    kind = ir.VectorType(fmt.real, lanes)
    if lanes == ENTRIES:  # one vector of f32
        f = declared(b.module, "llvm.x86.avx512.permvar.sf.512",
                     ir.FunctionType(kind, [kind, index.type]))  # fmt: skip
        return b.call(f, [ir.Constant(kind, list(table)), index])
    word = {"f8": "pd.512", "f4": "ps.256"}[fmt.code]
    f = declared(b.module, f"llvm.x86.avx512.vpermi2var.{word}",
                 ir.FunctionType(kind, [kind, index.type, kind]))  # fmt: skip
    return b.call(
        f, [ir.Constant(kind, list(table[:8])), index, ir.Constant(kind, list(table[8:]))]
    )


def _permuted_halves(b, fmt: Format, table: Table, lanes: int, index):
    """The same by AVX2, which permutes words of 32 bits, and then chooses by the fourth bit."""
    if lanes < 8 and fmt.code == "f4":
        wide = _shuffled(b, index, [k % lanes for k in range(8)])
        return _shuffled(b, _permuted_halves(b, fmt, table, 8, wide), range(lanes))
    width, real = 8 * int(fmt.code[1]), ir.VectorType(fmt.real, lanes)
    fourth = b.shl(index, ir.Constant(index.type, [width - 4] * lanes))
    upper = b.icmp_signed("<", fourth, ir.Constant(index.type, [0] * lanes))
    places = index
    if fmt.code == "f8":  # each word of a place stands for both
        words = b.bitcast(index, ir.VectorType(I32, 8))
        places = _shuffled(b, words, [k & ~1 for k in range(8)])
    first, second = (b.bitcast(_words(b, fmt, table[k : k + 8], places), real) for k in (0, 8))
    return b.select(upper, second, first)


def _words(b, fmt: Format, entries: Table, places):
    """Eight words of 32 bits: floats, or in turn the lower and the upper halves of doubles."""
    kind = ir.VectorType(I32, 8)
    permute = declared(b.module, "llvm.x86.avx2.permd", ir.FunctionType(kind, [kind, kind]))
    if fmt.code == "f4":
        return b.call(permute, [ir.Constant(kind, _halves("<8f", entries)), places])
    both = _halves("<8d", entries)
    low, high = (ir.Constant(kind, both[k::2]) for k in (0, 1))
    found = b.call(permute, [high, places])
    least = b.call(permute, [low, places]) if any(both[::2]) else ir.Constant(kind, [0] * 8)
    return b.shuffle_vector(least, found, _places([k if k % 2 == 0 else 8 + k for k in range(8)]))


def _halves(form: str, entries: Table) -> list[int]:
    data = struct.pack(form, *entries)
    return list(struct.unpack(f"<{len(data) // 4}I", data))


def _one_by_one(b, fmt: Format, table: Table, lanes: int, index):
    """The same by as many loads."""
    out: Any = ir.Constant(ir.VectorType(fmt.real, lanes), ir.Undefined)
    for k in range(lanes):
        place = b.extract_element(index, ir.Constant(I32, k))
        out = b.insert_element(out, _entry(b, fmt, table, place), ir.Constant(I32, k))
    return out
