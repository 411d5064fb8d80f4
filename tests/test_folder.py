"""The cache folder: nothing that another user could have written is run, it is limited in size, and
killed writers leave nothing broken."""

import os
import subprocess
import sys

import pytest

from graphad.compile import cache, folder

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owners and modes of POSIX")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHAD_CACHE_DIR", str(tmp_path / "c"))
    cache.clear_counts()
    cache.save("k", b"code")
    assert cache.load("k") == b"code"
    return tmp_path / "c"


def test_a_folder_of_others_is_not_used(tmp_path, monkeypatch):
    mine = os.geteuid()
    monkeypatch.setattr(folder.os, "geteuid", lambda: mine + 1)
    assert folder.trusted(tmp_path) is None


def test_a_link_is_not_used(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    assert folder.trusted(link) is None


def test_a_folder_that_was_open_is_closed_and_one_that_is_shared_left_alone(tmp_path):
    for mode, kept in ((0o777, True), (0o770, True), (0o1777, False)):
        opened = tmp_path / oct(mode)
        opened.mkdir()
        opened.chmod(mode)
        found = folder.trusted(opened)
        assert (found == opened) if kept else (found is None)
        assert os.lstat(opened).st_mode & 0o7777 == (mode & ~0o22 if kept else mode)


@pytest.mark.parametrize(("mode", "kept"), [(0o777, False), (0o1777, True), (0o755, True)])
def test_folders_above_that_others_can_change(tmp_path, mode, kept):
    above = tmp_path / "above"
    (above / "between" / "c").mkdir(parents=True)
    above.chmod(mode)
    assert (folder.trusted(above / "between" / "c") is not None) == kept


def test_a_group_that_is_not_the_users_own(tmp_path, monkeypatch):
    above = tmp_path / "above"
    (above / "c").mkdir(parents=True)
    above.chmod(0o775)
    assert folder.trusted(above / "c") is not None
    mine = os.getegid()
    monkeypatch.setattr(folder.os, "getegid", lambda: mine + 1)
    assert folder.trusted(above / "c") is None


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_could_write_is_a_miss(place, mode):
    (place / "k.o").chmod(mode)
    assert cache.load("k") is None


def test_a_file_of_others_is_a_miss(place, monkeypatch):
    with cache.opened() as there:
        mine = os.geteuid()
        monkeypatch.setattr(folder.os, "geteuid", lambda: mine + 1)
        assert there.read("k.o") is None


def test_links_and_what_is_no_file_are_misses(place):
    os.rename(place / "k.o", place.parent / "elsewhere")
    (place / "k.o").symlink_to(place.parent / "elsewhere")
    assert cache.load("k") is None
    os.unlink(place / "k.o")
    os.mkfifo(place / "k.o")
    assert cache.load("k") is None
    os.unlink(place / "k.o")
    os.mkdir(place / "k.o")
    assert cache.load("k") is None
    cache.save("k", b"code")  # cannot be put there: no error


def test_a_file_is_bound_to_its_name(place):
    (place / "other.o").write_bytes((place / "k.o").read_bytes())
    (place / "other.o").chmod(0o600)
    assert cache.load("other") is None and cache.load("k") == b"code"


def test_every_changed_byte_is_a_miss(place):
    whole = (place / "k.o").read_bytes()
    for k in range(len(whole)):
        (place / "k.o").write_bytes(whole[:k] + bytes([whole[k] ^ 1]) + whole[k + 1 :])
        assert cache.load("k") is None
        (place / "k.o").write_bytes(whole[:k])
        assert cache.load("k") is None
    (place / "k.o").write_bytes(whole + b"\0")
    assert cache.load("k") is None


def test_what_was_used_longest_ago_goes(place, monkeypatch):
    monkeypatch.setenv("GRAPHAD_CACHE_SIZE", "400K")
    for k in range(20):
        cache.save(f"n{k}", b"x" * 16_000)  # five blocks of a file system each
        os.utime(place / f"n{k}.o", ns=(k, k))
    for k in (0, 2, 4):
        assert cache.load(f"n{k}") is not None  # a use
    cache.save("large", b"y" * 100_000)
    here = {name for name, _ in cache.listed()}
    assert {"n0.o", "n2.o", "n4.o", "n19.o", "large.o"} <= here
    assert not {"n1.o", "n3.o", "n5.o"} & here
    assert sum(size for _, size in cache.listed()) <= 400 << 10
    cache.save("too large", b"z" * (500 << 10))
    assert "too large.o" not in {name for name, _ in cache.listed()}


def test_other_processes_files_are_counted(place, monkeypatch):
    monkeypatch.setenv("GRAPHAD_CACHE_SIZE", "1M")
    other = (
        "from graphad.compile import cache\nfor k in range(60): cache.save(f'o{k}', b'x' * 16_000)"
    )
    subprocess.run([sys.executable, "-c", other], check=True)
    for k in range(60):
        cache.save(f"n{k}", b"x" * 16_000)
    assert sum(size for _, size in cache.listed()) <= 1 << 20


@pytest.mark.parametrize("size", ["much", "1T", "-1", "1.5M"])
def test_a_size_that_is_none(place, monkeypatch, size):
    monkeypatch.setenv("GRAPHAD_CACHE_SIZE", size)
    with pytest.raises(ValueError, match="GRAPHAD_CACHE_SIZE"):
        cache.save("k", b"code")


def test_killed_writers_leave_nothing_broken(tmp_path):
    script = (
        f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})\n"
        "import cache_soak\nprint(cache_soak.run(40, 1 << 22)[0])"
    )
    env = {**os.environ, "GRAPHAD_CACHE_DIR": str(tmp_path / "c")}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0
