"""MelHuBERT against the authors' code: every layer, neuron and logit on valid frames.

Tolerance 2e-6 of the largest value (float32 references); logits 2e-5 absolute. Hidden values were
stored for unmasked input, logits for input whose masked frames are zero.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from voxstrata.models.melhubert.checkpoint import read_melhubert


def place(shared: Path) -> Path:
    return shared / "golden" / "neurons" / "melhubert_pruning"


def meta(shared: Path) -> dict[str, Any]:
    return json.loads((place(shared) / "meta.json").read_text())


@pytest.mark.parametrize(
    ("variant", "state"),
    [("base", "base"), ("prenorm", "prenorm"), ("tenms", "tenms"), ("causal", "base")],
)
def test_every_output(shared: Path, variant: str, state: str) -> None:
    facts = meta(shared)[variant]
    io = load_file(place(shared) / f"melhubert_{variant}.safetensors")
    network = read_melhubert(
        place(shared) / f"melhubert_{state}_state.safetensors",
        {
            "heads": 4,
            "norm_first": facts["config"]["layer_norm_first"],
            "causal": facts["config"]["attention_type"] == "causal",
        },
    )
    N = network.options.layers
    lengths, valid = torch.tensor(facts["lengths"]), io["pad_mask"].bool()
    taps = {f"block.{i}.ffn.{part}" for i in range(1, N + 1) for part in ("inner", "out")}
    with torch.no_grad():
        found = network.stack(io["input"], lengths, last=N, taps=frozenset(taps))
        final = found[str(N)]
        if network.options.norm_first:
            final = network.encoder.layer_norm(final)
    ours = {
        "pre_feat": found["proj"],
        "last_hidden": final,
        **{f"layer_hidden.{i}": found[str(i)] for i in range(1, N + 1)},
        **{f"ffn_activation.{i}": found[f"block.{i}.ffn.inner"] for i in range(1, N + 1)},
        **{f"ffn_output.{i}": found[f"block.{i}.ffn.out"] for i in range(1, N + 1)},
    }
    compared = [name for name in ours if name in io]
    assert {"pre_feat", "last_hidden", "layer_hidden.1"} <= set(compared)
    for name in compared:
        expected = io[name][valid]
        assert (ours[name][valid] - expected).abs().max() < 2e-6 * expected.abs().max(), name


@pytest.mark.parametrize("variant", ["base", "tenms"])
def test_logits(shared: Path, variant: str) -> None:
    facts = meta(shared)[variant]
    io = load_file(place(shared) / f"melhubert_{variant}.safetensors")
    network = read_melhubert(place(shared) / f"melhubert_{variant}_state.safetensors", {"heads": 4})
    valid, hidden = io["pad_mask"].bool(), io["mask_indices"]
    with torch.no_grad():
        logits = network(io["input"] * ~hidden.unsqueeze(-1), torch.tensor(facts["lengths"]))
    assert (logits[hidden & valid] - io["logits_masked"]).abs().max() < 2e-5
    assert (logits[~hidden & valid] - io["logits_unmasked"]).abs().max() < 2e-5
    loss = torch.nn.functional.cross_entropy(
        logits[hidden & valid], io["cluster_label"][hidden & valid]
    )
    assert float(loss) == pytest.approx(facts["ce_masked"], abs=1e-5)


def _base(shared: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    return (
        load_file(place(shared) / "melhubert_base_state.safetensors"),
        load_file(place(shared) / "melhubert_base.safetensors"),
    )


def _last_hidden(shared: Path, state: dict[str, torch.Tensor], file: Path) -> torch.Tensor:
    save_file({k: v.contiguous() for k, v in state.items()}, file)
    network = read_melhubert(file, {"heads": 4})
    io = load_file(place(shared) / "melhubert_base.safetensors")
    with torch.no_grad():
        return network.stack(io["input"], torch.tensor(meta(shared)["base"]["lengths"]), last=3)[
            "3"
        ]


def test_files_with_pruned_rows(shared: Path, tmp_path: Path) -> None:
    """Inner widths are read from the shapes: 104 of 200 neurons are left in each block."""
    state, io = _base(shared)
    pruned = load_file(place(shared) / "row_pruned.safetensors")
    for step in meta(shared)["row_pruning"]["removed_local_index"]:
        for block, rows in enumerate(step):
            base = f"encoder.layers.{block}"
            left = sorted(set(range(len(state[f"{base}.fc1.bias"]))) - set(rows))
            state[f"{base}.fc1.weight"] = state[f"{base}.fc1.weight"][left]
            state[f"{base}.fc1.bias"] = state[f"{base}.fc1.bias"][left]
            state[f"{base}.fc2.weight"] = state[f"{base}.fc2.weight"][:, left]
    assert torch.equal(
        state["encoder.layers.0.fc1.weight"], pruned["state.encoder.layers.0.fc1.weight"]
    )
    found = _last_hidden(shared, state, tmp_path / "pruned.safetensors")
    valid, expected = io["pad_mask"].bool(), pruned["last_hidden"]
    assert (found - expected)[valid].abs().max() < 2e-6 * expected[valid].abs().max()


@pytest.mark.parametrize("how", ["by_layer", "by_whole"])
def test_files_with_pruned_heads(shared: Path, tmp_path: Path, how: str) -> None:
    """Heads a block are read from the shapes; a head keeps its width."""
    state, io = _base(shared)
    facts = meta(shared)["head_pruning_l1"][how]
    left = dict.fromkeys(range(3), 4)
    for step in facts["removed_per_step"]:
        for block, heads in step.items():
            base, width = f"encoder.layers.{block}.self_attn", 12
            rows = [
                h * width + i for h in range(left[int(block)]) if h not in heads
                for i in range(width)
            ]  # fmt: skip
            for part in "qkv":
                for kind in ("weight", "bias"):
                    name = f"{base}.{part}_proj.{kind}"
                    state[name] = state[name][rows]
            state[f"{base}.out_proj.weight"] = state[f"{base}.out_proj.weight"][:, rows]
            left[int(block)] -= len(heads)
    assert list(left.values()) == facts["heads_after"]
    found = _last_hidden(shared, state, tmp_path / "pruned.safetensors")
    pruned = load_file(place(shared) / f"head_pruned_{how}.safetensors")["last_hidden"]
    valid = io["pad_mask"].bool()
    assert (found - pruned)[valid].abs().max() < 2e-6 * pruned[valid].abs().max()
