"""``voxstrata doctor`` sees what is missing or broken and says the remedy."""

from __future__ import annotations

import importlib
from typing import Any

from voxstrata.diagnosis import Finding, diagnose


def _by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.what: finding for finding in findings}


def test_this_installation_is_well() -> None:
    assert not [finding for finding in diagnose() if finding.state == "broken"]


def test_cuda_torchaudio_beside_cpu_torch_is_detected() -> None:
    def load(name: str) -> Any:
        if name == "torchaudio":
            raise OSError("libc10_cuda.so: cannot open shared object file")
        if name.startswith("transformers.models"):
            raise OSError("libc10_cuda.so: cannot open shared object file")
        return importlib.import_module(name)

    found = _by_name(diagnose(load))
    assert found["torchaudio"].state == "broken"
    assert "pip uninstall torchaudio" in found["torchaudio"].remedy
    assert found["speech models of transformers"].state == "broken"


def test_missing_and_broken_packages() -> None:
    def load(name: str) -> Any:
        if name in ("espeakng_loader", "soxr"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        if name == "praatio":
            raise RuntimeError("half installed")
        return importlib.import_module(name)

    found = _by_name(diagnose(load))
    assert (found["espeakng-loader"].state, found["soxr"].state) == ("absent", "broken")
    assert "voxstrata[synth]" in found["espeakng-loader"].remedy
    assert found["soxr"].remedy == "pip install soxr"
    assert found["praatio"].state == "broken"
