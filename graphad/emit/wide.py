"""What AVX-512 does in an instruction and other CPUs in several: exponents, scaling, small tables.

Each is a function of one element, in plain arithmetic. In a loop that LLVM may vectorise, for a CPU
with AVX-512, it is a call of a function that is not defined there, with vector forms of one or two
instructions; after vectorisation forms and definitions are linked in and inlined (`definitions`).
Values are the same bits either way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir

from graphad.emit.real import (
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


def exponent(x: Real, normal: bool = False) -> Real:
    """e of |x| = 2**e m with 3/4 <= m < 3/2; -inf for 0, inf for infinity, nan for nan. `normal`
    says that x is not subnormal, which saves a step where there is no instruction."""
    return _exponent(x, True) if normal and not _by_calls(x) else _call("exponent", x)


def mantissa(x: Real, normal: bool = False) -> Real:
    """That m; 1 or -1 for ±0, 1 for inf, nan for x < 0."""
    return _mantissa(x, True) if normal and not _by_calls(x) else _call("mantissa", x)


def _by_calls(x: Real) -> bool:
    return getattr(x.b.module, "graphad_wide", None) is not None


def scaled(x: Real, k: Real, whole: Callable[[], Any] | None = None) -> Real:
    """x 2**floor(k), rounded once, for |k| <= 2200; `whole` makes floor(k) as an integer, which is
    faster where it has to be one."""
    if whole is not None and not _by_calls(x):
        return _by_halves(x, whole())
    return _call("scaled", x, k)


def looked_up(like: Real, table: Table, index) -> Real:
    """table[index % 16], in the format of `like`."""
    assert len(table) == ENTRIES
    return _call(table, like, index)


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
    return b.load(b.gep(first, [place], source_etype=fmt.real), typ=fmt.real)


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
    full = wanted.setdefault((name, fmt.code), f"{PREFIX}{len(wanted)}_{fmt.code}")
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
    """Let the bodies of a source with loops call vector forms, where the CPU has them."""
    if module.target.bits == 512 and not module.target.cuda:
        module.graphad_wide = {}
        # LLVM takes as many elements at a time as fit of the widest type in a loop.
        double, single = (any(w.endswith(code) for w in source.words) for code in ("_f8", "_f4"))
        module.graphad_lanes = {"f8": (8, 16) if single else (8,),
                                "f4": (8, 16) if double else (16,)}  # fmt: skip


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
    if fmt.code == "f8" and lanes == 16:
        parts = [_vector(b, fmt, name, 8, [_half(b, v, k) for v in values]) for k in range(2)]
        return b.shuffle_vector(*parts, _places(range(16)))
    if isinstance(name, tuple):
        return _permuted(b, fmt, name, lanes, values[0])
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
    return b.shuffle_vector(value, ir.Constant(value.type, ir.Undefined),
                            _places(range(8 * k, 8 * k + 8)))  # fmt: skip


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
