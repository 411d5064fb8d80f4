"""The undefined symbols of an object file: ELF, Mach-O and COFF, all of 64 bits."""

import struct


def undefined(data):
    """Names that an object does not define."""
    if data[:4] == b"\x7fELF":
        return _elf(data)
    if data[:4] == b"\xcf\xfa\xed\xfe":
        return _mach_o(data)
    return _coff(data)


def _text(data, at):
    return data[at : data.index(b"\0", at)].decode()


def _elf(data):
    (at,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, at + k * size) for k in range(count)]
    found = set()
    for kind, offset, length, link in ((s[1], s[4], s[5], s[6]) for s in sections):
        if kind == 2:  # a symbol table, whose names are in the section `link`
            for k in range(24, length, 24):
                name, _, _, section = struct.unpack_from("<IBBH", data, offset + k)
                if section == 0:
                    found.add(_text(data, sections[link][4] + name))
    return found


def _mach_o(data):
    (count,) = struct.unpack_from("<I", data, 16)
    at, found = 32, set()
    for _ in range(count):
        command, size, symbols, many, strings = struct.unpack_from("<IIIII", data, at)
        if command == 2:
            for k in range(many):
                name, kind, _, _, _ = struct.unpack_from("<IBBHQ", data, symbols + 16 * k)
                if kind & 0x0E == 0 and kind & 1:
                    found.add(_text(data, strings + name).removeprefix("_"))
        at += size
    return found


def _coff(data):
    symbols, many = struct.unpack_from("<II", data, 8)
    strings, found, k = symbols + 18 * many, set(), 0
    while k < many:
        at = symbols + 18 * k
        _, section, _, kind, more = struct.unpack_from("<IhHBB", data, at + 8)
        if section == 0 and kind == 2:
            zeros, offset = struct.unpack_from("<II", data, at)
            short = data[at : at + 8].rstrip(b"\0").decode() if zeros else ""
            found.add(short or _text(data, strings + offset))
        k += 1 + more
    return found
