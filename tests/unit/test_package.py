"""The package as a whole: light to import, quick to help, every module importable."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import voxstrata

HEAVY = ("torch", "lhotse", "transformers", "pandas", "numpy", "scipy", "sklearn", "matplotlib")


def _run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import voxstrata",
        "import voxstrata.similarity, voxstrata.corpora, voxstrata.models, voxstrata.report",
        "import sys; sys.argv = ['voxstrata', '--help']\n"
        "from voxstrata.cli import main\n"
        "try: main()\nexcept SystemExit: pass",
        "import sys; sys.argv = ['voxstrata', 'similarity', '--help']\n"
        "from voxstrata.cli import main\n"
        "try: main()\nexcept SystemExit: pass",
    ],
)
def test_importing_and_helping_load_nothing_heavy(code: str) -> None:
    loaded = _run(code + "\nimport sys; print('|'.join(sys.modules))").splitlines()[-1].split("|")
    assert not set(HEAVY) & set(loaded)


def test_import_does_no_io(tmp_path: Path) -> None:
    code = (
        "import sys\nseen = []\n"
        "sys.addaudithook(lambda e, a: seen.append((e, a)) if e in ('socket.connect', 'os.mkdir')"
        " or (e == 'open' and isinstance(a[1], str) and set(a[1]) & set('wax+')) else None)\n"
        "import voxstrata\nprint(seen)"
    )
    assert _run(code).strip() == "[]"


def test_every_module_imports() -> None:
    for info in pkgutil.walk_packages(voxstrata.__path__, "voxstrata."):
        importlib.import_module(info.name)


def test_files_fit_in_one_reading() -> None:
    root = Path(voxstrata.__file__).parent
    long = {p.name: n for p in root.rglob("*.py") if (n := len(p.read_text().splitlines())) > 600}
    assert not long


def test_public_names_exist() -> None:
    for name in (*voxstrata.__all__, "similarity", "report"):
        assert getattr(voxstrata, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = voxstrata.nope


def test_help_is_quick_enough_to_feel_instant() -> None:
    """Not a timing claim (those are in benchmarks): only that nothing takes seconds."""
    begun = time.perf_counter()
    _run("import voxstrata")
    assert time.perf_counter() - begun < 30
