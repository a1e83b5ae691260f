"""Erased neurons against the authors' erased checkpoint: by hook, by weights, and saved.

Hidden values of a padded batch, valid frames only; tolerance 2e-6 of the largest value.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from voxstrata.models.edited.edit import Edit
from voxstrata.models.edited.folder import write_edit
from voxstrata.models.edited.hooks import changing, places_of
from voxstrata.models.edited.model import EditedModel
from voxstrata.models.edited.save import save_as_weights
from voxstrata.models.load import load_model


@pytest.mark.parametrize("route", ["hook", "folder", "weights"])
def test_erased(shared: Path, tmp_path: Path, route: str) -> None:
    place = shared / "golden" / "neurons" / "melhubert_pruning"
    facts = json.loads((place / "meta.json").read_text())
    base = f"{place / 'melhubert_base_state.safetensors'},heads=4"
    model = load_model(base)
    neurons = {f"block.{k}.ffn.inner": tuple(v) for k, v in facts["erase"].items()}
    edit = Edit("erase", neurons)
    if route == "folder":
        write_edit(tmp_path, base, model.fingerprint, edit)
        edited: Any = load_model(tmp_path)
        assert edited.edit.digest() == edit.digest()
        model, edit = edited.unedited, edited.edit
    if route == "weights":
        save_as_weights(EditedModel(model, edit, "e"), tmp_path / "out")
        model, neurons = load_model(tmp_path / "out"), {}
    network: Any = model._module  # type: ignore[attr-defined]
    io = load_file(place / "melhubert_base.safetensors")
    lengths, valid = torch.tensor(facts["base"]["lengths"]), io["pad_mask"].bool()
    with torch.inference_mode(), changing(places_of(model, neurons), edit.changes()):
        found = network.stack(io["input"], lengths, last=3)
    golden = load_file(place / "erased.safetensors")
    for number in (1, 2, 3):
        ours, theirs = found[str(number)][valid], golden[f"layer_hidden.{number}"][valid]
        scale = theirs.abs().max()
        assert (ours - theirs).abs().max() <= 2e-6 * scale
        assert (io[f"layer_hidden.{number}"][valid] - theirs).abs().max() > 1e-2 * scale
