"""Kernel sources to LLVM: a small, strictly typed subset of Python, translated in one walk.

Sources stay valid Python that Numba could compile too; this way past its front end costs a
thirtieth (docs/design.md, "Compiling"). A variable has the dtype of its first assignment. Operands
of arithmetic have one dtype, or are integers, which widen to 64 bits; an untyped literal takes
the other's. `a if c else b` evaluates both: nothing in an expression has an effect.
"""

from __future__ import annotations

import ast
import functools
import math
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from graphad.bodies import wide
from graphad.bodies.real import FORMATS, Real, keep_vector_forms, on_cuda
from graphad.compile.analysis import plain_names, vector_loops, with_loop_options
from graphad.compile.instructions import HELD, I64, counted, declared, number
from graphad.compile.parsing import definition_of
from graphad.compile.words import WORDS, Primitive, scopes
from graphad.emit.source import KernelSource
from graphad.emit.target import Module, Target
from graphad.lower.order import BLOCK

LITERAL = "literal"
FLAGS = ("nsz", "arcp", "contract", "reassoc")


@dataclass
class Typed:
    """A value, the code of its dtype, and the Python number that it is, if it is one."""

    code: str
    value: Any
    constant: Any = None


class UnknownWord(Exception):
    """A source that is outside the language: a defect of the emitter."""


def translate(source: KernelSource, name: str, target: Target) -> str:
    """The LLVM module of the one function in this source, which is called `name` there."""
    definition = definition_of(source.code)
    module = Module(target)
    scopes(module, own=bool(source.calls("write_")))
    plain = plain_names(definition)
    loops = vector_loops(source, definition, plain, target)
    if loops:
        wide.prepare(module, source)
    append(module, definition, name, plain, loops, FLAGS if source.facts.fastmath else ())
    keep_vector_forms(module)
    return with_loop_options(str(module), target) + wide.definitions(module)


def inlined(module, source: str, name: str, known: dict[str, Primitive]) -> Primitive:
    """The function of a source in a module, as a word; `known` are further words that it calls."""
    definition = definition_of(source)
    function = append(module, definition, name, plain_names(definition), {}, (), known)
    function.linkage = "internal"
    function.attributes.add("alwaysinline")
    codes = tuple(_annotated(a.annotation) for a in definition.args.args)
    return Primitive(codes, _annotated(definition.returns), lambda b, *xs: b.call(function, xs))


def append(module, definition, name, plain, loops, flags, known=None):
    """A function in a module, from its definition."""
    codes = [_annotated(a.annotation) for a in definition.args.args]
    result = _annotated(definition.returns)
    kind = ir.FunctionType(HELD[result], [HELD[c] for c in codes])
    function = ir.Function(module, kind, name)
    function.attributes.add("nounwind")
    parameters = [(a.arg, c) for a, c in zip(definition.args.args, codes, strict=True)]
    translator = _Translator(function, flags, result, known)
    translator.run(definition, parameters, plain, loops)
    return function


def _annotated(annotation) -> str:
    """The dtype code that an annotation names; kernels have integers without saying so."""
    return annotation.id if annotation is not None else "i8"


class _Translator:
    """Appends the instructions of one function."""

    def __init__(self, function, flags, result="i8", known=None):
        self.function, self.result = function, result
        self.known = known or {}
        self.flags = flags
        self.entry = function.append_basic_block("entry")
        self.b: Any = ir.IRBuilder(function.append_basic_block("start"))
        self.start = self.b.block
        self.variables: dict[str, tuple[str, Any]] = {}
        self.leave: list[Any] = []
        self.vector_loops: dict[int, tuple[int, bool]] = {}
        self.plain: set[str] = set()
        self.values: dict[str, Typed] = {}

    def run(self, definition, parameters, plain, vector_loops):
        """The whole body."""
        self.plain, self.vector_loops = plain, vector_loops
        for (name, code), argument in zip(parameters, self.function.args, strict=True):
            self._set(name, Typed(code, argument))
        self._block(definition.body)
        if not self._ended():
            self.b.ret(self._literal(0, self.result))
        ir.IRBuilder(self.entry).branch(self.start)

    # -- variables -------------------------------------------------------------------------------
    def _set(self, name, value: Typed):
        if name in self.plain:
            self.values[name] = value
            return
        known = self.variables.get(name)
        if known is None:
            code = "i8" if value.code == LITERAL else value.code
            with self.b.goto_block(self.entry):
                place = self.b.alloca(HELD[code], name=name)
            known = self.variables[name] = (code, place)
        code, place = known
        self.b.store(self._as(value, code), place)

    def _as(self, value: Typed, code: str):
        """The value in exactly this dtype; only literals and integers of 64 bits change."""
        if value.code == code:
            return value.value
        if value.code == LITERAL:
            return self._literal(value.constant, code)
        if value.code[0] in "iu" and code == "i8":
            return self._converted(value, code)
        raise UnknownWord(f"{value.code} where {code} is needed")

    def _literal(self, constant, code):
        if code[0] == "f":
            return ir.Constant(HELD[code], float(constant))
        return ir.Constant(HELD[code], int(constant))

    def _ended(self) -> bool:
        block: Any = self.b.block
        return block.is_terminated

    # -- statements ------------------------------------------------------------------------------
    def _block(self, statements):
        for s in statements:
            if self._ended():
                return
            getattr(self, f"_do_{type(s).__name__}")(s)

    def _do_Assign(self, s):
        self._set(s.targets[0].id, self._value(s.value))

    def _do_AugAssign(self, s):
        self._set(s.target.id, self._binary(s.op, self._load(s.target.id), self._value(s.value)))

    def _do_Expr(self, s):
        if not isinstance(s.value, ast.Constant):
            self._value(s.value)

    def _do_Return(self, s):
        self.b.ret(self._as(self._value(s.value), self.result))

    def _do_If(self, s):
        test = self._truth(self._value(s.test))
        if not s.orelse:
            with self.b.if_then(test):
                self._block(s.body)
            return
        with self.b.if_else(test) as (then, otherwise):
            with then:
                self._block(s.body)
            with otherwise:
                self._block(s.orelse)

    def _do_While(self, s):
        head, body, after = (self.b.append_basic_block(n) for n in ("while", "body", "after"))
        self.b.branch(head)
        self.b.position_at_end(head)
        self.b.cbranch(self._truth(self._value(s.test)), body, after)
        self.b.position_at_end(body)
        self._inside(s.body, after, lambda: self.b.branch(head))

    def _inside(self, statements, after, again):
        self.leave.append(after)
        self._block(statements)
        self.leave.pop()
        if not self._ended():
            again()
        self.b.position_at_end(after)

    def _do_Break(self, s):
        self.b.branch(self.leave[-1])

    def _do_For(self, s):
        bounds = [self._as(self._value(a), "i8") for a in s.iter.args]
        first, last = (number(0), bounds[0]) if len(bounds) == 1 else bounds[:2]
        step = bounds[2] if len(bounds) > 2 else number(1)
        before = self.b.block
        head, body, after = (self.b.append_basic_block(n) for n in ("for", "body", "after"))
        self.b.branch(head)
        self.b.position_at_end(head)
        k = self.b.phi(I64)
        k.add_incoming(first, before)
        self.b.cbranch(self.b.icmp_signed("<", k, last), body, after)
        self.b.position_at_end(body)
        self._set(s.target.id, Typed("i8", k))

        def again():
            k.add_incoming(self.b.add(k, step, flags=("nsw",)), self.b.block)
            jump = self.b.branch(head)
            if options := self.vector_loops.get(s.lineno):
                text = "interleave {} {} {}".format(*options, s.lineno)
                mark = self.b.module.add_metadata([text])
                jump.set_metadata("llvm.loop", mark)

        self._inside(s.body, after, again)

    # -- expressions -----------------------------------------------------------------------------
    def _value(self, e) -> Typed:
        return getattr(self, f"_of_{type(e).__name__}")(e)

    def _load(self, name) -> Typed:
        if name == "BLOCK":
            return Typed(LITERAL, None, BLOCK)
        if name in self.plain:
            return self.values[name]
        code, place = self.variables[name]
        return Typed(code, self.b.load(place, typ=HELD[code]))

    def _of_Name(self, e):
        return self._load(e.id)

    def _of_Constant(self, e):
        if isinstance(e.value, bool):
            return Typed("b1", ir.Constant(HELD["b1"], e.value))
        return Typed(LITERAL, None, e.value)

    def _of_Attribute(self, e):
        return Typed(LITERAL, None, {"nan": math.nan, "inf": math.inf}[e.attr])

    def _of_UnaryOp(self, e):
        x = self._value(e.operand)
        if isinstance(e.op, ast.Not):
            return Typed("b1", self.b.not_(self._truth(x)))
        if x.code == LITERAL:
            return Typed(LITERAL, None, -x.constant)
        if x.code[0] == "f":
            return Typed(x.code, (-Real(self.b, FORMATS[x.code], x.value)).v)
        return Typed(x.code, self.b.neg(x.value))

    def _truth(self, x: Typed):
        if x.code == "b1":
            return x.value
        if x.code == LITERAL:
            return ir.Constant(HELD["b1"], bool(x.constant))
        zero = self._literal(0, x.code)
        if x.code[0] == "f":
            return self.b.fcmp_unordered("!=", x.value, zero)
        return self.b.icmp_unsigned("!=", x.value, zero)

    def _alike(self, x: Typed, y: Typed) -> tuple[str, Any, Any]:
        """The common dtype of two operands, and both in it."""
        if x.code == y.code == LITERAL:
            code = "i8"
        elif LITERAL in (x.code, y.code) or x.code == y.code:
            code = y.code if x.code == LITERAL else x.code
        elif x.code[0] in "iu" and y.code[0] in "iu":
            code = "i8"
        else:
            raise UnknownWord(f"{x.code} with {y.code}")
        return code, self._as(x, code), self._as(y, code)

    def _of_BinOp(self, e):
        return self._binary(e.op, self._value(e.left), self._value(e.right))

    def _binary(self, op, x: Typed, y: Typed) -> Typed:
        code, a, c = self._alike(x, y)
        name = type(op).__name__
        b = self.b
        if code[0] == "f":
            made = {"Add": b.fadd, "Sub": b.fsub, "Mult": b.fmul, "Div": b.fdiv}[name]
            return Typed(code, made(a, c, flags=self.flags))
        if name == "Pow":
            return Typed(code, self._power(code, a, c))
        if name in ("FloorDiv", "Mod"):
            return Typed(code, self._floor_divided(code, a, c, name == "Mod"))
        if name == "RShift":
            return Typed(code, (b.lshr if code[0] == "u" else b.ashr)(a, c))
        made = {"Add": b.add, "Sub": b.sub, "Mult": b.mul, "BitAnd": b.and_,
                "BitOr": b.or_, "BitXor": b.xor, "LShift": b.shl}[name]  # fmt: skip
        return Typed(code, made(a, c))

    def _floor_divided(self, code, a, c, rest: bool):
        b = self.b
        if code[0] == "u":
            return b.urem(a, c) if rest else b.udiv(a, c)
        left, zero = b.srem(a, c), ir.Constant(a.type, 0)
        other_sign = b.icmp_signed("<", b.xor(left, c), zero)
        off = b.and_(b.icmp_signed("!=", left, zero), other_sign)
        if rest:
            return b.select(off, b.add(left, c), left)
        return b.sub(b.sdiv(a, c), b.zext(off, a.type))

    def _power(self, code, a, c):
        """Integer power by c multiplications at most; 0 for a negative exponent."""
        b = self.b
        with b.goto_block(self.entry):
            out = b.alloca(a.type)
        b.store(ir.Constant(a.type, 1), out)
        count = self._converted(Typed(code, c), "i8")
        counted(b, number(0), count, lambda _: b.store(b.mul(b.load(out, typ=a.type), a), out))
        return b.load(out, typ=a.type)

    def _of_Compare(self, e):
        order = {"Lt": "<", "LtE": "<=", "Gt": ">", "GtE": ">=", "Eq": "==", "NotEq": "!="}[
            type(e.ops[0]).__name__
        ]
        code, a, c = self._alike(self._value(e.left), self._value(e.comparators[0]))
        return Typed("b1", self._compared(order, code, a, c))

    def _compared(self, order, code, a, c):
        if code[0] == "f":
            compare = self.b.fcmp_unordered if order == "!=" else self.b.fcmp_ordered
            return compare(order, a, c)
        signed = self.b.icmp_signed if code[0] == "i" else self.b.icmp_unsigned
        return signed(order, a, c)

    def _of_BoolOp(self, e):
        """`a and b`, `a or b`: the second is evaluated only where it decides."""
        with self.b.goto_block(self.entry):
            place = self.b.alloca(HELD["b1"])
        test = self._truth(self._value(e.values[0]))
        self.b.store(test, place)
        for other in e.values[1:]:
            wanted = test if isinstance(e.op, ast.And) else self.b.not_(test)
            with self.b.if_then(wanted):
                self.b.store(self._truth(self._value(other)), place)
            test = self.b.load(place, typ=HELD["b1"])
        return Typed("b1", test)

    def _of_IfExp(self, e):
        test = self._truth(self._value(e.test))
        code, a, c = self._alike(self._value(e.body), self._value(e.orelse))
        return Typed(code, self.b.select(test, a, c))

    def _of_Call(self, e):
        arguments = [self._value(a) for a in e.args]
        name = e.func.id
        if name in HELD:
            return Typed(name, self._converted(arguments[0], name))
        if name in ("min", "max"):
            return functools.reduce(lambda a, c: self._extreme(name, a, c), arguments)
        if name == "abs":
            return self._magnitude(arguments[0])
        known = self.known.get(name) or WORDS[name]
        values = [
            a if name == "stack" else self._as(a, code)
            for a, code in zip(arguments, known.arguments, strict=True)
        ]
        return Typed(known.result or "", known.build(self.b, *values))

    def _extreme(self, name, x: Typed, y: Typed):
        code, a, c = self._alike(x, y)
        better = self._compared("<" if name == "min" else ">", code, c, a)
        return Typed(code, self.b.select(better, c, a))

    def _magnitude(self, x: Typed):
        b = self.b
        if x.code[0] == "f" and on_cuda(b):
            return Typed(x.code, Real(b, FORMATS[x.code], x.value).magnitude().v)
        if x.code[0] == "f":
            suffix = "f64" if x.code == "f8" else "f32"
            size = declared(b, f"llvm.fabs.{suffix}", HELD[x.code], [HELD[x.code]])
            return Typed(x.code, b.call(size, [x.value]))
        if x.code[0] == "u":
            return x
        negative = b.icmp_signed("<", x.value, self._literal(0, x.code))
        return Typed(x.code, b.select(negative, b.neg(x.value), x.value))

    def _converted(self, x: Typed, code: str):
        """A cast, by the rules of C for numbers that do not fit."""
        b, kind = self.b, HELD[code]
        if x.code == LITERAL:
            return self._literal(x.constant, code)
        if x.code == code:
            return x.value
        if code == "b1":
            return self._truth(x)
        if x.code == "b1":
            return b.uitofp(x.value, kind) if code[0] == "f" else b.zext(x.value, kind)
        if x.code[0] == "f" and code[0] == "f":
            return b.fpext(x.value, kind) if code == "f8" else b.fptrunc(x.value, kind)
        if x.code[0] == "f":
            return self._whole(x, code)
        if code[0] == "f":
            signed = x.code[0] == "i"
            if code == "f8" and x.code[1] == "8":
                return wide.of_integer(b, x.value, signed)
            return b.sitofp(x.value, kind) if signed else b.uitofp(x.value, kind)
        if kind.width < HELD[x.code].width:
            return b.trunc(x.value, kind)
        if kind.width == HELD[x.code].width:
            return x.value
        return b.sext(x.value, kind) if x.code[0] == "i" else b.zext(x.value, kind)

    def _whole(self, x: Typed, code: str):
        """A float cut to an integer; narrow ones by way of 32 or 64 bits, so that they wrap."""
        b, kind = self.b, HELD[code]
        if code == "u8":
            top = ir.Constant(x.value.type, 2.0**63)
            high = b.xor(b.fptosi(b.fsub(x.value, top), kind), ir.Constant(kind, 1 << 63))
            big = b.fcmp_ordered(">=", x.value, top)
            return b.select(big, high, b.fptosi(x.value, kind))
        if code == "i8":
            return b.fptosi(x.value, kind)
        wide = ir.IntType(32 if code in ("i4", "i2", "i1", "u2", "u1") else 64)
        out = b.fptosi(x.value, wide)
        return out if wide == kind else b.trunc(out, kind)
