"""What is installed, what is missing or broken, and what to do about it."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from voxstrata.files import cache_dir

State = Literal["ok", "absent", "broken"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        what: package, device or folder.
        state: "ok", "absent" (optional and not there) or "broken" (needed and unusable).
        found: version, or what went wrong.
        remedy: what to do; empty where all is well.
    """

    what: str
    state: State
    found: str
    remedy: str = ""


REQUIRED = {
    "torch": "torch",
    "transformers": "transformers",
    "lhotse": "lhotse",
    "numpy": "numpy",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "safetensors": "safetensors",
    "soundfile": "soundfile",
    "soxr": "soxr",
    "kaldi_native_fbank": "kaldi-native-fbank",
    "pandas": "pandas",
    "pyarrow": "pyarrow",
    "pydantic": "pydantic",
    "yaml": "pyyaml",
    "jinja2": "jinja2",
    "matplotlib": "matplotlib",
    "altair": "altair",
    "vl_convert": "vl-convert-python",
    "rich": "rich",
    "typer": "typer",
    "psutil": "psutil",
}
OPTIONAL = {
    "espeakng_loader": ("espeakng-loader", "synth", "the synthetic corpus and the demo"),
    "praatio": ("praatio", "align", "TextGrid alignments"),
    "flashlight.lib.text.decoder.kenlm": (
        "flashlight-text",
        "lm",
        "word error rates with a language model",
    ),
}


def diagnose(load: Callable[[str], Any] = importlib.import_module) -> list[Finding]:
    """Look at everything voxstrata uses.

    Args:
        load: how a module is imported (tests hand in a failing one).
    """
    findings = [Finding("python", "ok", sys.version.split()[0])]
    findings += [_required(module, package, load) for module, package in REQUIRED.items()]
    findings += [_optional(module, *facts, load) for module, facts in OPTIONAL.items()]
    findings += [_torchaudio(load), _transformers_speech(load), _device(load), _cache()]
    return findings


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "?"


def _required(module: str, package: str, load: Callable[[str], Any]) -> Finding:
    try:
        load(module)
    except ModuleNotFoundError as error:
        return Finding(package, "broken", f"not installed ({error})", f"pip install {package}")
    except Exception as error:  # whatever a broken binary raises is the finding
        return Finding(
            package,
            "broken",
            f"{_version(package)} does not import: {_short(error)}",
            f"pip install --force-reinstall {package}",
        )
    return Finding(package, "ok", _version(package))


def _optional(
    module: str, package: str, extra: str, purpose: str, load: Callable[[str], Any]
) -> Finding:
    remedy = f"pip install 'voxstrata[{extra}]' (for {purpose})"
    try:
        load(module)
    except ModuleNotFoundError:
        return Finding(package, "absent", "not installed", remedy)
    except Exception as error:
        return Finding(package, "broken", f"does not import: {_short(error)}", remedy)
    return Finding(package, "ok", _version(package))


def _torchaudio(load: Callable[[str], Any]) -> Finding:
    """torchaudio is not used, but a broken one breaks transformers, which imports it if present.

    The usual case is the CUDA build beside a CPU torch: its import fails with OSError, not
    ImportError, so transformers' own guards do not catch it.
    """
    try:
        load("torchaudio")
    except ModuleNotFoundError:
        return Finding("torchaudio", "ok", "not installed (voxstrata does not use it)")
    except Exception as error:
        return Finding(
            "torchaudio",
            "broken",
            f"{_version('torchaudio')} does not load beside torch {_version('torch')}: "
            f"{_short(error)}; transformers cannot load speech models while it is there",
            "pip uninstall torchaudio (voxstrata does not need it), or install the build that "
            "matches your torch",
        )
    return Finding("torchaudio", "ok", f"{_version('torchaudio')} (not used)")


def _transformers_speech(load: Callable[[str], Any]) -> Finding:
    what = "speech models of transformers"
    try:
        load("transformers.models.hubert.modeling_hubert")
    except Exception as error:
        return Finding(
            what,
            "broken",
            f"do not import: {_short(error)}",
            "see the lines above; a broken torchaudio or torchvision is the usual cause",
        )
    return Finding(what, "ok", "import")


def _device(load: Callable[[str], Any]) -> Finding:
    try:
        torch = load("torch")
        if torch.cuda.is_available():
            names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
            return Finding("device", "ok", ", ".join(names))
        return Finding("device", "ok", f"CPU, {torch.get_num_threads()} threads (no GPU found)")
    except Exception as error:
        return Finding("device", "broken", _short(error), "reinstall torch")


def _cache() -> Finding:
    folder = cache_dir()
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 1e9
    return Finding("cache", "ok", f"{folder} ({free:.0f} GB free there)")


def _short(error: Exception) -> str:
    first = str(error).strip().splitlines()
    return f"{type(error).__name__}: {first[0][:160] if first else ''}"
