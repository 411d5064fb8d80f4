"""Types and small pieces of LLVM code that words and block functions are made of."""

from __future__ import annotations

from llvmlite import ir

from graphad.bodies import real

I64 = ir.IntType(64)
I32 = ir.IntType(32)

STORED = {"f8": ir.DoubleType(), "f4": ir.FloatType(), "b1": ir.IntType(8)} | {
    f"{c}{n}": ir.IntType(8 * n) for c in "iu" for n in (1, 2, 4, 8)
}
HELD = STORED | {"b1": ir.IntType(1)}  # as a local variable


def number(n: int):
    """A 64-bit integer constant."""
    return ir.Constant(I64, n)


def element(b, stored, address, index, space: int = 0):
    """A pointer to an element of an array, in an address space of LLVM."""
    return b.gep(b.inttoptr(address, stored.as_pointer(space)), [index], source_etype=stored)


def declared(b, name, result, arguments):
    """A C function of this signature in the module being built."""
    return real.declared(b.module, name, ir.FunctionType(result, arguments))


def counted(b, start, stop, body):
    """A loop over integers; body(k) appends its instructions."""
    before = b.block
    head, inside, after = (b.append_basic_block(n) for n in ("head", "body", "after"))
    b.branch(head)
    b.position_at_end(head)
    k = b.phi(I64)
    k.add_incoming(start, before)
    b.cbranch(b.icmp_signed("<", k, stop), inside, after)
    b.position_at_end(inside)
    body(k)
    k.add_incoming(b.add(k, number(1), flags=("nsw",)), b.block)
    b.branch(head)
    b.position_at_end(after)
