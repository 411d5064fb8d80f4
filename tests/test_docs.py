"""Every Python block of README and docs runs, in order, in one namespace a page."""

import pathlib
import re

import numpy as np
import pytest

import graphad as ga

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_page(page, monkeypatch):
    text = page.read_text()
    for shown in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (page.parent / shown).exists(), shown
    space = {"np": np, "ga": ga, "__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", text, re.S):
        exec(compile(block, str(page), "exec"), space)
    assert text.startswith("# ")


def test_the_page_of_operations_is_that_of_the_table():
    from graphad.inspect.operations import text

    assert (ROOT / "docs" / "operations.md").read_text() == text()


def test_setup_has_two_commands():
    section = (ROOT / "README.md").read_text().split("## Set-up")[1].split("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.S)
    assert len(blocks) == 2 and all(len(b.strip().splitlines()) == 1 for b in blocks)
