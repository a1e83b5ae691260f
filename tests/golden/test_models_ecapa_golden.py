"""Every layer output of four public ECAPA-TDNN implementations, read from their checkpoints.

Tolerances: float32 layers 2e-6 of the layer's largest value; float64 embeddings 1e-9 (5e-9 from
SpeechBrain's and 3D-Speaker's wave features, whose originals build 1/T masks in float32; 5e-7 for
TaoRuijie, whose stored input is a float32 log-mel).
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from voxstrata.models.ecapa.checkpoint import read_ecapa
from voxstrata.models.load import load_model

FOLDERS = {
    "wespeaker": "wespeaker_glob_embbn",
    "3dspeaker": "3dspeaker",
    "speechbrain": "speechbrain",
    "taoruijie": "taoruijie",
}
LAYERS = {
    "layer0_stem": "conv",
    "layer1": "block1",
    "layer2": "block2",
    "layer3": "block3",
    "mfa_prerelu": "mfa.linear",
    "mfa": "mfa",
    "pooled": "pool",
    "embedding": "embedding",
}
CASES = [
    ("wespeaker", "", "feat", 1e-9),
    ("wespeaker", "short_", "short_feat", 1e-9),
    ("wespeaker", "wav_", "wav_fbank_cmn", 1e-9),
    ("3dspeaker", "", "feat", 1e-9),
    ("3dspeaker", "short_", "short_feat", 1e-9),
    ("3dspeaker", "wav_", "wav_fbank_cmn", 5e-9),
    ("speechbrain", "", "feat", 1e-9),
    ("speechbrain", "short_", "short_feat", 1e-9),
    ("speechbrain", "wav_", "wav_fbank_norm", 5e-9),
    ("speechbrain", "masked_", "feat", 1e-9),
    ("taoruijie", "", "logmel_cmn", 5e-7),
]


def folder(shared: Path, name: str) -> Path:
    return shared / "golden" / "ecapa" / FOLDERS[name]


@pytest.mark.parametrize(("name", "case", "input_name", "tolerance64"), CASES)
def test_every_layer(
    shared: Path, name: str, case: str, input_name: str, tolerance64: float
) -> None:
    io = load_file(folder(shared, name) / "io.safetensors")
    network = read_ecapa(folder(shared, name) / "state_dict.safetensors").build()
    features = io[input_name]
    features = features if features.ndim == 3 else features[None]
    if name == "taoruijie":
        features = features.transpose(1, 2)
    lengths = None
    if case == "masked_":
        lengths = torch.round(io["rel_lens"] * features.shape[1])
    with torch.no_grad():
        found = network.stack(features, lengths=lengths)
        double = network.double()(features.double(), lengths)
    seen = 0
    for theirs, ours in LAYERS.items():
        if case + theirs not in io:
            continue
        expected = io[case + theirs]
        if ours not in ("pool", "embedding"):
            expected = expected.transpose(1, 2)
        expected = expected.reshape(found[ours].shape)
        assert (found[ours] - expected).abs().max() < 2e-6 * expected.abs().max(), ours
        seen += 1
    assert seen >= 7
    expected = io[f"{case}embedding_f64"].reshape(double.shape)
    assert (double - expected).abs().max() < tolerance64


def test_attention_weights_and_pooled_norm(shared: Path) -> None:
    io = load_file(folder(shared, "taoruijie") / "io.safetensors")
    network = read_ecapa(folder(shared, "taoruijie") / "state_dict.safetensors").build()
    with torch.no_grad():
        weights = network.attention.weights(io["mfa"], None)
        normed = network.pooled_bn(io["pooled"])
    assert (weights - io["att_weights"]).abs().max() < 1e-6
    assert (normed - io["pooled_bn"]).abs().max() < 2e-6 * io["pooled_bn"].abs().max()


@pytest.mark.parametrize("name", list(FOLDERS))
def test_from_waveform_to_layers(shared: Path, name: str) -> None:
    """The whole way: file, front end, network. Features add their own rounding: 2e-5."""
    spec = str(folder(shared, name) / "state_dict.safetensors")
    if name in ("3dspeaker", "speechbrain"):
        spec += f",frontend={name}"
    model = load_model(spec)
    io = load_file(folder(shared, name) / "io.safetensors")
    wave = io["wav_int16"].float() / 32768
    layers = ["conv", "block1", "block2", "block3", "mfa", "pool", "embedding"]
    found = model.encode([wave], layers)[0]
    prefix = "" if name == "taoruijie" else "wav_"
    for theirs, ours in LAYERS.items():
        if ours not in found:
            continue
        expected = io[prefix + theirs]
        expected = expected.reshape(1, -1) if ours in ("pool", "embedding") else expected[0].T
        assert found[ours].shape == expected.shape
        assert (found[ours] - expected).abs().max() < 2e-5 * expected.abs().max(), ours
    assert model.details["front_end"]["name"] == name


def test_normalisation_of_a_padded_batch_is_not_ours(shared: Path) -> None:
    """SpeechBrain's masked mean of a padded recording is the mean of the recording alone."""
    io = load_file(folder(shared, "speechbrain") / "io.safetensors")
    alone = io["feat"][1, :84] - io["feat"][1, :84].mean(0)
    assert (alone - io["feat_sentence_norm_masked"][1, :84]).abs().max() < 1e-5
