"""AAM-softmax against logits, losses and gradients of four public implementations."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from voxstrata.training.objectives.margin import MarginHead

CASES = {
    "taoruijie_m0.2_s30": {"m": 0.2, "scale": 30.0, "beyond": "linear"},
    "speechbrain_m0.2_s30": {"m": 0.2, "scale": 30.0, "beyond": "linear"},
    "wespeaker_arc_m0.0_s32": {"m": 0.0},
    "wespeaker_arc_m0.2_s32": {"m": 0.2},
    "wespeaker_arc_m0.5_s32": {"m": 0.5},
    "wespeaker_arc_easy_m0.2_s32": {"m": 0.2, "beyond": "easy"},
    "wespeaker_subcentre_topk_m0.2_s32": {"m": 0.2, "centres": 3, "hardest": 5},
    "wespeaker_subcentre_lm_m0.5_s32": {"m": 0.5, "centres": 3},
    "wespeaker_am_m0.2_s32": {"m": 0.2, "kind": "additive"},
    "3dspeaker_arc_m0.2_s32": {"m": 0.2},
    "3dspeaker_arc_m0.3_s32": {"m": 0.3},
}


@pytest.mark.parametrize("name", CASES)
def test_logits_loss_and_gradients(shared: Path, name: str) -> None:
    golden = load_file(shared / "golden/aam/io.safetensors")
    options = dict(CASES[name])
    margin = options.pop("m")
    head = MarginHead(192, 10, **options)  # type: ignore[arg-type]
    head.margin = float(margin)  # type: ignore[arg-type]
    weight = golden["weight_subcentre_K3" if "centres" in options else "weight"]
    head.weight.data.copy_(weight)
    embeddings = golden["emb"].clone().requires_grad_()
    logits = head(embeddings, golden["label"])
    loss = torch.nn.functional.cross_entropy(logits, golden["label"])
    loss.backward()
    if f"{name}_logits" in golden:
        torch.testing.assert_close(logits, golden[f"{name}_logits"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(loss, golden[f"{name}_loss"], atol=1e-5, rtol=1e-5)
    found = embeddings.grad
    assert found is not None
    torch.testing.assert_close(found, golden[f"{name}_emb_grad"], atol=1e-5, rtol=1e-4)
