"""Shared fixtures: a cache folder of the test run's own, and the choice of the code regime."""

import os
import tempfile

import pytest

os.environ.setdefault(
    "GRAPHAD_CACHE_DIR", os.path.join(tempfile.gettempdir(), f"graphad-tests-{os.getuid()}")
)


@pytest.fixture(params=["small", "large"])
def regime(request, monkeypatch):
    """Run a test in straight-line code and in fused loops."""
    if request.param == "large":
        monkeypatch.setattr("graphad.lower.straight.MOST_WORK", -1)
    return request.param
