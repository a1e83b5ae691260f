"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples every time: a statistical bound must not fail for one seed in a thousand.
settings.register_profile("fixed", derandomize=True)
settings.load_profile("fixed")


def _shared_root() -> Path:
    named = os.environ.get("VOXSTRATA_SHARED")
    return Path(named) if named else Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared test data; tests that need it are skipped, with the reason, where it is absent."""
    root = _shared_root()
    if not root.is_dir():
        pytest.skip(f"the shared test data is not at {root} (set VOXSTRATA_SHARED)")
    return root


@pytest.fixture(autouse=True)
def _private_cache(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests never touch the user's cache nor the network."""
    if "VOXSTRATA_TEST_CACHE" in os.environ:
        monkeypatch.setenv("VOXSTRATA_CACHE", os.environ["VOXSTRATA_TEST_CACHE"])
    else:
        monkeypatch.setenv("VOXSTRATA_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test starts from the same random state, whatever ran before it on this worker."""
    import random
    import sys

    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
