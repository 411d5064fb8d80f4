"""Broken flow files, many of them: `python -m tests.flow_files_soak --cases 10000`.

Each is a FlowFileError or a flow; nothing else is raised, run, imported or opened, and memory and
time stay within a few times the file's own.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import os
import pathlib
import pickle
import sys
import tempfile
import time
import tracemalloc
import zipfile

import numpy as np
import scipy.special  # noqa: F401 - so that it is not imported while a file is read

from graphad import flows
from graphad.flows import archive
from graphad.flows.part import Part

CODE = "__import__('os').mkdir('code_ran')"
FORBIDDEN = ("exec", "compile", "import", "subprocess.Popen", "os.system", "pickle.find_class",
             "ctypes.dlopen", "os.mkdir", "os.remove", "socket.connect")  # fmt: skip


class Watch:
    """Notes what happens between `start` and `stop` that a loader has no business with."""

    def __init__(self):
        self.on, self.seen = False, []
        sys.addaudithook(self.hook)

    def hook(self, event, arguments):
        if self.on and event in FORBIDDEN:
            self.seen.append((event, str(arguments)[:80]))


def taken_apart(data: bytes):
    """(description, arrays) of a good file."""
    with np.load(io.BytesIO(data)) as held:
        arrays = [held[f"a{k}"] for k in range(len(held.files) - 2)]
        return json.loads(held["description"].tobytes()), arrays


def put_together(tree, arrays) -> bytes:
    """A file with the digest that belongs to its contents."""
    text = tree if isinstance(tree, str) else json.dumps(tree)
    file = io.BytesIO()
    np.savez(file, **{f"a{k}": a for k, a in enumerate(arrays)},
             description=np.frombuffer(text.encode(), np.uint8),
             digest=np.frombuffer(archive.digest(text, arrays), np.uint8))  # fmt: skip
    return file.getvalue()


def zipped(data: bytes, change, compress=zipfile.ZIP_STORED) -> bytes:
    """The archive written again with its members changed; checksums are right."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", compress) as new:
        for name, body in change([(n, old.read(n)) for n in old.namelist()]):
            new.writestr(name, body)
    return file.getvalue()


def cut(rng, data, _):
    return data[: rng.integers(len(data))]


def flipped(rng, data, _):
    found = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        found[rng.integers(len(found))] ^= 1 << rng.integers(8)
    return bytes(found)


def grown(rng, data, _):
    more = rng.bytes(int(rng.integers(1, 4000)))
    return data + more if rng.random() < 0.5 else more + data


def spliced(rng, data, _):
    """A piece of the file somewhere else in it."""
    a, b, c = sorted(rng.integers(len(data), size=3))
    return data[:c] + data[a:b] + data[c:]


def ends(rng, data, _):
    """Other numbers in the table of contents and the end of the archive."""
    found, start = bytearray(data), data.rindex(b"PK\1\2")
    at = int(rng.integers(start, len(found) - 4))
    found[at : at + 4] = int(rng.integers(1 << 32)).to_bytes(4, "little")
    return bytes(found)


SHAPES = ["(1000000000000,)", "(99999, 99999, 99999)", "(0, 1000000000000000000)", "(-1,)", "(3",
          "((3,),)", "(1e9,)", "", "(" + "1, " * 40 + ")", "__import__('os')"]  # fmt: skip
DESCR = ["'|O'", "'<U9'", "[('a', '<f8')]", "'<f16'", "'>f8'", "'<c16'", "'|V8'", "'<M8[s]'", CODE]


def headers(rng, data, _):
    """Arrays that claim another shape, dtype or length."""

    def change(members):
        k = int(rng.integers(len(members)))
        name, body = members[k]
        start = 10 + int.from_bytes(body[8:10], "little")
        kind = rng.integers(4)
        if kind == 0:
            text = b"{'descr': '<f8', 'fortran_order': False, 'shape': %s, }" % (
                rng.choice(SHAPES).encode()
            )
        elif kind == 1:
            text = b"{'descr': %s, 'fortran_order': False, 'shape': (3,), }" % (
                str(rng.choice(DESCR)).encode()
            )
        elif kind == 2:
            text = rng.choice([CODE, "[" * 5000, "{" * 60000, "9" * 9000, "'a'*10**9"]).encode()
        else:
            text = bytes(body[10:start])[: int(rng.integers(start))]
        body = b"\x93NUMPY\1\0" + min(len(text), 65535).to_bytes(2, "little") + text + body[start:]
        members[k] = (name, body)
        return members

    return zipped(data, change)


def members(rng, data, _):
    """Archives with members more, less, twice, compressed or under other names."""

    def change(found):
        k = int(rng.integers(len(found)))
        kind = rng.integers(4)
        if kind == 0:
            return found[:k] + found[k + 1 :]
        if kind == 1:
            return [*found, (str(rng.choice(["../evil", "a99.npy", "x", "a0"])), b"1")]
        if kind == 2:
            found[k] = (found[k][0] + "x", found[k][1])
        else:
            found[k] = (found[k][0], bytes(int(rng.integers(1 << 20))))
        return found

    return zipped(data, change, rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))


def places(value, at=()):
    """Every place of a description."""
    yield at
    items = value.items() if isinstance(value, dict) else (
        enumerate(value) if isinstance(value, list) else ())  # fmt: skip
    for k, v in items:
        yield from places(v, (*at, k))


def deep(rng):
    n = int(rng.choice([100, 1000, 100_000]))
    return rng.choice([json.dumps("x"), "[" * n + "]" * n, '{"part":' * n + "1" + "}" * n])


def stranger(rng, tree):
    """Something that does not belong where it is put."""
    return [lambda: None, lambda: int(rng.integers(-3, 99)), lambda: 10**int(rng.integers(400)),
            lambda: 1e308, lambda: CODE, lambda: {"number": CODE}, lambda: [], lambda: {},
            lambda: {"array": int(rng.integers(-2, 40))}, lambda: {"same": int(rng.integers(9))},
            lambda: {"function": str(rng.choice(["os:system", "numpy:load", "numpy:exp", "builtins:"
                     "eval", "graphad.flows.storage:load", "scipy.special:erf", "given:f"]))},
            lambda: {"expression": ["pow", ["pow", 9, 999999], ["exp", 1000000]]},
            lambda: {"expression": ["Lambda", "x", CODE]}, lambda: {"float": CODE},
            lambda: {"part": "StandardNormal", "fields": {"_event": [10**9, 10**9],
                     "_dtype": "float64"}},
            lambda: {"part": "FromForward", "fields": {"f": {"function": "numpy:sinh"},
                     "_event": [10**11], "parameters": [], "given_inverse": None}},
            lambda: {"tuple": "Mask", "items": [[0], [1], [2], True]},
            lambda: copy.deepcopy(some(rng, tree))][rng.integers(17)]()  # fmt: skip


def some(rng, tree):
    found = list(places(tree))
    for k in found[rng.integers(len(found))]:
        tree = tree[k]
    return tree


def patched(rng, _, apart):
    """A description with places changed, taken away or made anew, and the right digest."""
    tree, arrays = copy.deepcopy(apart[0]), list(apart[1])
    for _ in range(int(rng.integers(1, 4))):
        found = [p for p in places(tree) if p]
        if not found:
            break
        *at, last = found[rng.integers(len(found))]
        inside = tree
        for k in at:
            inside = inside[k]
        if rng.random() < 0.2:
            del inside[last]
        elif rng.random() < 0.2 and isinstance(inside, dict):
            inside[str(rng.choice(["part", "number", "shape", "x"]))] = inside.pop(last)
        else:
            inside[last] = stranger(rng, tree)
    return put_together(tree, arrays)


def nested(rng, _, apart):
    """Descriptions nested deep, or whose parts use one another again and again."""
    tree, arrays = copy.deepcopy(apart[0]), list(apart[1])
    if rng.random() < 0.5:
        return put_together(json.dumps({**tree, "flow": 0})[:-2] + deep(rng) + "}", [])
    part = {"part": "Permute", "fields": {"order": [0], "_event": [1], "axis": -1}}
    for k in range(int(rng.integers(2, 60))):
        part = {"part": "Chain", "fields": {"parts": [part, {"same": k}], "_event": [1],
                                            "_out": [1]}}  # fmt: skip
    tree["flow"] = part
    return put_together(tree, arrays)


def rearranged(rng, _, apart):
    """Arrays of other shapes, dtypes and values, with the right digest."""
    arrays = [np.array(a) for a in apart[1]]
    k = int(rng.integers(max(len(arrays), 1)))
    a = arrays[k] if arrays else np.zeros((2, 2))
    arrays[k : k + 1] = [a]
    arrays[k] = [lambda: a.reshape(-1), lambda: a[None], lambda: a.astype("i4"),
                 lambda: np.full_like(a, np.nan), lambda: a.astype("f4"), lambda: np.zeros(0),
                 lambda: a.astype(complex), lambda: np.array("text"), lambda: a.T,
                 lambda: np.concatenate([a.reshape(-1), [1.0]])][rng.integers(10)]()  # fmt: skip
    return put_together(apart[0], arrays)


class Evil:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return (os.mkdir, ("code_ran",))


def foreign(rng, data, _):
    """Files of other programs."""
    file = io.BytesIO()
    kind = rng.integers(9)
    if kind == 0:
        np.save(file, np.array([Evil()], object), allow_pickle=True)
    elif kind == 1:
        np.savez(file, a0=np.array([Evil()], object), description=np.zeros(3), digest=np.zeros(3))
    elif kind == 2:
        np.savez_compressed(file, a0=np.zeros(1 << 20), description=np.zeros(3, "u1"))
    elif kind == 3:
        return pickle.dumps(Evil())
    elif kind == 4:
        return rng.bytes(int(rng.integers(4000)))
    elif kind == 5:
        return b"PK\3\4" + rng.bytes(100) + b"PK\5\6" + rng.bytes(18)
    elif kind == 6:
        return json.dumps(CODE).encode()
    elif kind == 7:
        with zipfile.ZipFile(file, "w") as made:
            for k in range(3000):
                made.writestr(f"a{k}.npy", b"")
    return file.getvalue()


SORTS = [cut, flipped, grown, spliced, ends, headers, members, patched, patched, patched, nested,
         rearranged, foreign]  # fmt: skip


def check(path, data: bytes, watch: Watch) -> bool:
    """Whether a file still is a flow; raises where it does what no file may."""
    path.write_bytes(data)
    tracemalloc.start()
    watch.seen.clear()
    start, watch.on = time.perf_counter(), True
    try:
        found = flows.load(path, functions={})
        ok = True
        assert isinstance(found, Part)
    except flows.FlowFileError as problem:
        ok = False
        text = str(problem)
    finally:
        watch.on = False
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert not watch.seen, watch.seen[:3]
    assert peak < 20 * len(data) + (8 << 20), f"{peak} bytes for a file of {len(data)}"
    assert time.perf_counter() - start < 20
    assert not pathlib.Path("code_ran").exists()
    assert ok or (str(path) in text or "is not there" in text or "no part" in text), text
    return ok


def soak(good: dict[str, bytes], cases: int, seed: int = 0) -> dict[str, list[int]]:
    """Check so many broken files; [of each sort, of these flows still] by the sort's name."""
    watch, counts = Watch(), {}
    apart = {name: taken_apart(data) for name, data in good.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "flow.npz"
        for data in good.values():
            assert check(path, data, watch)
        for case in range(cases):
            rng = np.random.default_rng([seed, case])
            name = list(good)[case % len(good)]
            sort = SORTS[case // len(good) % len(SORTS)]
            data = sort(rng, good[name], apart[name])
            try:
                ok = check(path, data, watch)
            except BaseException as problem:
                raise AssertionError(f"case {case} of seed {seed}: {sort.__name__}") from problem
            count = counts.setdefault(sort.__name__, [0, 0])
            count[0] += 1
            count[1] += ok
    return counts


def main() -> None:
    """Many cases, of flows with every part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    from test_flow_files import good_files

    start = time.perf_counter()
    counts = soak(good_files(), chosen.cases, chosen.seed)
    for name, (count, still) in counts.items():
        print(f"{name:12s} {count:6d} files, {still} of them flows still")
    print(f"{chosen.cases} files: nothing but FlowFileError, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
