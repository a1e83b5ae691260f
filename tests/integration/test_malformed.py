"""Damaged inputs: an error of the family that names the file, or a reading; never another error."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import damage
import training_made
from voxstrata.config import read_yaml
from voxstrata.corpora import load_corpus
from voxstrata.corpora.alignments.textgrid import read_textgrid
from voxstrata.errors import AudioError, CheckpointError, VoxstrataError
from voxstrata.models import load_model
from voxstrata.models.weights import read_checkpoint
from voxstrata.studies.load import read_study
from voxstrata.training.recipes import read_recipe

TEXTGRID = """\
File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 1
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = "one"
        intervals [2]:
            xmin = 0.5
            xmax = 1
            text = "two"
"""

STUDY = """\
name: small
title: Two features
question: Do they differ?
corpora: {speech: "synthetic:tiny"}
models: {mel: log-mel, coefficients: mfcc}
analyses:
  similar: {job: similarity, corpus: speech, units: [utterance], measures: [cka]}
"""


def never_another_error(
    path: Path, read: Callable[[], object], count: int = 60, *, first: int | None = None
) -> int:
    """Damage a file (its first bytes only, if asked); returns how often it was told."""
    whole, told = path.read_bytes(), 0
    read()
    for what, bad in damage.damages(whole[:first], count):
        cut = what.startswith("cut")
        path.write_bytes(bad if first is None or cut else bad + whole[first:])
        try:
            read()
        except VoxstrataError as error:
            if path.name not in str(error):
                raise AssertionError(f"{what}: {path.name} is not named in {error}") from error
            told += 1
        except Exception as error:
            raise AssertionError(f"{path.name}, {what}: {error!r}") from error
    path.write_bytes(whole)
    return told


def _wave() -> np.ndarray:
    return (0.1 * np.sin(np.arange(8000) / 9)).astype(np.float32)


@pytest.mark.parametrize("form", ["wav", "flac", "ogg"])
def test_headers_of_recordings(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"a.{form}"
    soundfile.write(path, _wave(), 16000)

    def read() -> None:
        corpus = load_corpus(str(tmp_path))
        for utterance in corpus.utterances:
            try:
                utterance.read()
            except VoxstrataError as error:
                # A recording that fails in the pass is told by its id.
                raise AudioError(f"{path.name}: {error}") from error

    assert never_another_error(path, read, 120, first=64)


def test_text_grids(tmp_path: Path) -> None:
    path = tmp_path / "a.TextGrid"
    path.write_text(TEXTGRID)
    assert never_another_error(path, lambda: read_textgrid(path), 250)


def test_manifests(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", _wave(), 16000)
    line = {"id": "a", "file": "a.wav", "duration": 0.5, "sampling_rate": 16000, "speaker": "s",
            "phones": [[0.0, 0.2, "AA"], [0.2, 0.5, "B"]]}  # fmt: skip
    path = tmp_path / "manifest.jsonl"
    path.write_text(json.dumps(line) + "\n")
    read: Callable[[], object] = lambda: load_corpus(str(path)).utterances  # noqa: E731
    whole, told = path.read_bytes(), 0
    for what, bad in damage.damages(whole, 200):
        path.write_bytes(bad)
        try:
            read()
        except VoxstrataError:
            told += 1
        except Exception as error:
            raise AssertionError(f"{what}: {error!r}") from error
    assert told > 50


def test_configurations_studies_and_recipes(tmp_path: Path) -> None:
    study, recipe = tmp_path / "study.yaml", tmp_path / "recipe.yaml"
    study.write_text(STUDY)
    training_made.register()
    training_made.write_recipe(recipe, "synthetic:tiny")
    assert never_another_error(study, lambda: read_yaml(study), 150)
    for path, read in ((study, read_study), (recipe, read_recipe)):
        whole, told = path.read_bytes(), 0
        for what, bad in damage.damages(whole, 150):
            path.write_bytes(bad)
            try:
                read(str(path))
            except VoxstrataError:
                told += 1
            except Exception as error:
                raise AssertionError(f"{path.name}, {what}: {error!r}") from error
        assert told > 50


def test_headers_of_weights(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "model.safetensors"
    save_file({"layer.weight": torch.randn(4, 3), "layer.bias": torch.zeros(4)}, path)
    length = struct.unpack("<Q", path.read_bytes()[:8])[0]
    assert never_another_error(path, lambda: read_checkpoint(path), 400, first=8 + length)
    for text in (b"{}", b"[]", b'{"a": 3}', b'{"a": {"dtype": "F32"}}', b"\xff\xfe", b"[" * 5000):
        path.write_bytes(struct.pack("<Q", len(text)) + text)
        with pytest.raises(CheckpointError, match=r"model\.safetensors"):
            read_checkpoint(path)
    older = tmp_path / "model.pt"
    torch.save({"layer.weight": torch.randn(4, 3)}, older)
    assert never_another_error(older, lambda: read_checkpoint(older), 400)


def test_a_model_of_ours_is_held_against_the_sum_in_its_card(tmp_path: Path) -> None:
    """Weights that others published carry no sum; their fingerprint stands in every record."""
    folder = Path(__file__).parents[2] / "src" / "voxstrata" / "models" / "bundled"
    source = min((p for p in folder.iterdir() if (p / "model.safetensors").exists()),
                 key=lambda p: (p / "model.safetensors").stat().st_size)  # fmt: skip
    import shutil

    copy = Path(shutil.copytree(source, tmp_path / "copy"))
    load_model(str(copy))
    path = copy / "model.safetensors"
    whole = path.read_bytes()
    for _, bad in list(damage.damages(whole, 12))[:12]:
        path.write_bytes(bad)
        with pytest.raises(CheckpointError, match=r"model\.safetensors"):
            load_model(str(copy))
