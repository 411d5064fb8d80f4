"""The quick tests on every Python at hand, with the oldest and the newest packages.

    python -m tests.matrix                       # each Python from 3.11 on, oldest and newest
    python -m tests.matrix --python 3.12 3.13 --packages newest

Interpreters are looked for on the PATH and among pyenv's. Each gets a virtual environment of its own
in `--folder` (by default a temporary one). It ends with a table, and with 1 if anything failed.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
# The first releases with wheels for a Python, where the oldest that the metadata allow have none.
FIRST = {
    "3.14": {"numpy": "2.3.2", "scipy": "1.16.1", "numba": "0.63.0", "llvmlite": "0.46.0"},
}
QUICK = ("calls", "call_path", "derivatives", "control", "errors", "dtypes", "indexing", "memory",
         "random", "draws_in_traces", "external", "questions", "threads", "interpreters", "cache")  # fmt: skip
TOOLS = ("pytest", "pytest-xdist", "mpmath", "hypothesis", "joblib", "dask")


def interpreters() -> dict[str, str]:
    """version -> path of an interpreter."""
    found = {}
    pyenv = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv"))
    for version in VERSIONS:
        places = sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"))
        for place in (shutil.which(f"python{version}"), *map(str, places)):
            if (
                place
                and subprocess.run([place, "-c", "import venv"], capture_output=True).returncode
                == 0
            ):
                found[version] = place
                break
    return found


def requirements(version: str, packages: str) -> list[str]:
    """What to install of the package's own dependencies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = []
    for requirement in project["dependencies"]:
        name, least = re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement).groups()  # type: ignore
        if packages == "newest":
            wanted.append(f"{name}>={least}")
        else:
            wanted.append(f"{name}=={FIRST.get(version, {}).get(name, least)}")
    return wanted


def run(
    version: str, python: str, packages: str, folder: pathlib.Path, processes: int | None
) -> tuple[str, bool]:
    """(what was found, whether all passed) of the quick tests in an environment of their own."""
    place = folder / f"{version}-{packages}"
    if not (place / "bin" / "python").exists():
        subprocess.run([python, "-m", "venv", place], check=True)
    own = place / "bin" / "python"
    install = [own, "-m", "pip", "install", "-q", *requirements(version, packages), *TOOLS]
    done = subprocess.run(install, capture_output=True, text=True)
    if done.returncode:
        return "cannot be installed: " + done.stderr.strip().splitlines()[-1], False
    names = "import numba, numpy, scipy; from graphad.run import gate; print(f'NumPy " \
        "{numpy.__version__}, SciPy {scipy.__version__}, Numba {numba.__version__}, gate: " \
        "{gate.why_not() or \"native\"}')"  # fmt: skip
    env = os.environ | {"PYTHONPATH": str(ROOT), "GRAPHAD_CACHE_DIR": str(place / "cache")}
    shown = subprocess.run([own, "-c", names], cwd=ROOT, env=env, capture_output=True, text=True)
    files = [f"tests/test_{name}.py" for name in QUICK if (ROOT / f"tests/test_{name}.py").exists()]
    command = [own, "-m", "pytest", "-q", "-n", str(processes), "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout[-6000:], done.stderr[-2000:])
    last = (done.stdout.strip().splitlines() or ["no output"])[-1]
    counted = f"{done.stdout.count('.')} dots" if "passed" not in last else last.strip("= ")
    return f"{shown.stdout.strip() or shown.stderr.strip()[-200:]}: {counted}", done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore
    parser.add_argument("--python", nargs="*", default=VERSIONS)
    parser.add_argument("--packages", nargs="*", default=["oldest", "newest"])
    parser.add_argument("--folder", type=pathlib.Path)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    given = parser.parse_args()
    found, failed = interpreters(), False
    with tempfile.TemporaryDirectory() as temporary:
        for version in given.python:
            if version not in found:
                print(f"Python {version}: not here")
                continue
            for packages in given.packages:
                folder = given.folder or pathlib.Path(temporary)
                text, passed = run(version, found[version], packages, folder, given.processes)
                failed |= not passed
                print(
                    f"Python {version}, {packages}: {'ok' if passed else 'FAILED'}: {text}",
                    flush=True,
                )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
