"""Checkpoint containers, prefixes and parts beside the encoder; strictness."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from voxstrata.errors import CheckpointError, ConfigError, ModelError
from voxstrata.models.ecapa.checkpoint import read_ecapa
from voxstrata.models.ecapa.family import FAMILY
from voxstrata.models.ecapa.options import EcapaOptions
from voxstrata.models.load import load_model
from voxstrata.models.spec import parse

State = dict[str, torch.Tensor]


def original(shared: Path, name: str) -> State:
    return load_file(shared / "golden" / "ecapa" / name / "state_dict.safetensors")


def under(prefix: str, state: State) -> State:
    return {prefix + name: value for name, value in state.items()}


def shifted(state: State) -> State:
    """Another network of the same shape, to tell the two branches apart."""
    return {k: v + 1 if v.is_floating_point() else v for k, v in state.items()}


HEAD = {"mlp.0.weight": torch.zeros(3, 3), "last_layer.weight_g": torch.ones(3, 1)}
OPTIMISER = {"state": {}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]}


def ws_supervised(s: State) -> Any:
    return {**s, "projection.weight": torch.zeros(9, 24), "projection.bias": torch.zeros(9)}


def ws_with_frontend(s: State) -> Any:
    return {**s, "frontend.upstream.weight": torch.zeros(2)}


def ws_dino(s: State) -> Any:
    return {
        "model": {
            **under("t_model.", s),
            **under("s_model.", shifted(s)),
            **under("t_model.projection_head.", HEAD),
            **under("s_model.projection_head.", HEAD),
            "dino_loss_calculator.center": torch.zeros(1, 3),
        },
        "optimizer": OPTIMISER,
    }


def ws_dino_parallel(s: State) -> Any:
    return {"model": under("module.", ws_dino(s)["model"])}


def ws_dino_average(s: State) -> Any:
    return {**s, **under("projection_head.", HEAD)}


def ws_moco(s: State) -> Any:
    return {
        **under("encoder_q.", {**s, **under("mlp.", {"0.weight": torch.zeros(2, 2)})}),
        **under("encoder_k.", shifted(s)),
        "queue": torch.zeros(24, 5),
        "queue_ptr": torch.zeros(1, dtype=torch.long),
    }


def ws_simclr(s: State) -> Any:
    return {"model": {**under("encoder.", s), "mlp.0.weight": torch.zeros(2, 2)}}


def ws_averaged_counters(s: State) -> Any:
    return {k: v / 10 if k.endswith("num_batches_tracked") else v for k, v in s.items()}


def tr_file(s: State) -> Any:
    return {**under("speaker_encoder.", s), "speaker_loss.weight": torch.zeros(7, 24)}


def rdino_file(s: State) -> Any:
    def network(state: State) -> State:
        return {**under("module.backbone.", state), **under("module.head.", HEAD)}

    return {
        "student": network(shifted(s)),
        "teacher": network(s),
        "optimizer": OPTIMISER,
        "epoch": 60,
        "dino_loss": {"center": torch.zeros(1, 3)},
        "args": argparse.Namespace(lr=0.4),
    }


def plain(s: State) -> Any:
    return s


def state_dict_module(s: State) -> Any:
    return {"state_dict": under("module.", s), "epoch": 3}


def embedding_model(s: State) -> Any:
    return {"embedding_model": s, "classifier": {"weight": torch.zeros(5, 24)}}


CONTAINERS: list[tuple[str, str, str | None, Callable[[State], Any]]] = [
    ("wespeaker_glob_embbn", "wespeaker", "wespeaker", plain),
    ("wespeaker_glob_embbn", "wespeaker", "wespeaker", ws_supervised),
    ("wespeaker_glob_embbn", "wespeaker", "wespeaker", ws_with_frontend),
    ("wespeaker_glob_embbn", "wespeaker", "wespeaker", ws_dino),
    ("wespeaker_glob_embbn", "wespeaker", "wespeaker", ws_dino_parallel),
    ("wespeaker_glob_embbn", "wespeaker", "wespeaker", ws_dino_average),
    ("wespeaker_glob_embbn", "wespeaker", "wespeaker", ws_moco),
    ("wespeaker_glob_embbn", "wespeaker", "wespeaker", ws_simclr),
    ("wespeaker_glob_embbn", "wespeaker", "wespeaker", ws_averaged_counters),
    ("wespeaker_glob_embbn", "wespeaker", "wespeaker", state_dict_module),
    ("taoruijie", "taoruijie", "taoruijie", tr_file),
    ("speechbrain", "speechbrain", None, plain),
    ("speechbrain", "speechbrain", None, state_dict_module),
    ("3dspeaker", "speechbrain", None, embedding_model),
    ("3dspeaker", "speechbrain", "rdino", rdino_file),
]


@pytest.mark.parametrize(
    ("folder", "layout", "preset", "container"),
    CONTAINERS,
    ids=[f"{row[0]}-{row[3].__name__}" for row in CONTAINERS],
)
def test_every_container_gives_the_same_network(
    shared: Path,
    tmp_path: Path,
    folder: str,
    layout: str,
    preset: str | None,
    container: Callable[[State], Any],
) -> None:
    state = original(shared, folder)
    file = tmp_path / "model.pt"
    torch.save(container(state), file)
    found = read_ecapa(file)
    assert (found.layout, found.preset) == (layout, preset)
    bare = read_ecapa(shared / "golden" / "ecapa" / folder / "state_dict.safetensors")
    assert found.options == bare.options
    assert found.state.keys() == bare.state.keys()
    assert all(torch.equal(found.state[k], bare.state[k]) for k in bare.state)
    found.build()
    assert FAMILY.recognises(parse(str(file)))


@pytest.mark.parametrize("container", [ws_dino, rdino_file])
def test_teacher_by_default_student_on_request(
    shared: Path, tmp_path: Path, container: Callable[[State], Any]
) -> None:
    state = original(shared, "3dspeaker" if container is rdino_file else "wespeaker_glob_embbn")
    file = tmp_path / "model.pt"
    torch.save(container(state), file)
    teacher, student = read_ecapa(file), read_ecapa(file, "student")
    assert (teacher.branch, student.branch) == ("teacher", "student")
    assert torch.equal(student.state["stem.conv.weight"], teacher.state["stem.conv.weight"] + 1)
    by_option = load_model(f"{file},branch=student")
    assert by_option.fingerprint != load_model(str(file)).fingerprint


def test_a_branch_of_a_single_network_is_refused(shared: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    torch.save(original(shared, "wespeaker_glob_embbn"), file)
    with pytest.raises(ConfigError, match="holds one network"):
        read_ecapa(file, "student")
    torch.save({"teacher": original(shared, "3dspeaker")}, file)
    with pytest.raises(CheckpointError, match="has no student"):
        read_ecapa(file, "student")


@pytest.mark.parametrize(
    ("folder", "gone"),
    [
        ("wespeaker_glob_embbn", "layer3.se_res2block.1.convs.4.bias"),
        ("wespeaker_glob_embbn", "bn2.running_var"),
        ("wespeaker_glob_embbn", "layer1.conv.weight"),
        ("speechbrain", "mfa.norm.norm.weight"),
        ("3dspeaker", "fc.conv.bias"),
        ("taoruijie", "layer2.se.se.3.weight"),
        ("taoruijie", "bn6.weight"),
    ],
)
def test_a_missing_tensor_is_named(shared: Path, tmp_path: Path, folder: str, gone: str) -> None:
    state = original(shared, folder)
    del state[gone]
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=f"missing: {gone}"):
        read_ecapa(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("folder", "extra"),
    [
        ("wespeaker_glob_embbn", "layer5.conv.weight"),
        ("speechbrain", "blocks.1.shortcut.conv.weight"),
        ("taoruijie", "bn7.weight"),
        ("taoruijie", "torchfbank.2.window"),
    ],
)
def test_an_unexpected_tensor_is_named(
    shared: Path, tmp_path: Path, folder: str, extra: str
) -> None:
    state = original(shared, folder) | {extra: torch.zeros(3)}
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=extra):
        read_ecapa(tmp_path / "model.safetensors")


def test_unexpected_tensors_beside_the_encoder(shared: Path, tmp_path: Path) -> None:
    state = under("speaker_encoder.", original(shared, "taoruijie"))
    torch.save(state | {"vocoder.weight": torch.zeros(2)}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"unexpected: vocoder\.weight"):
        read_ecapa(tmp_path / "model.pt")


def test_a_wrong_shape_is_named(shared: Path, tmp_path: Path) -> None:
    state = original(shared, "speechbrain")
    state["blocks.2.tdnn2.conv.conv.weight"] = torch.zeros(32, 31, 1)
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(
        CheckpointError, match=r"blocks\.2\.tdnn2\.conv\.conv\.weight \(32, 31, 1\)"
    ):
        read_ecapa(tmp_path / "model.safetensors")


def test_another_front_end_in_the_file_is_refused(shared: Path, tmp_path: Path) -> None:
    state = original(shared, "taoruijie")
    state["torchfbank.1.mel_scale.fb"] = state["torchfbank.1.mel_scale.fb"].roll(1, 0)
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"another front end.*\n.*mel_scale"):
        read_ecapa(tmp_path / "model.safetensors")


def test_pooling_without_context_is_read_from_the_shape(shared: Path, tmp_path: Path) -> None:
    state = original(shared, "wespeaker_glob_embbn")
    state["pool.linear1.weight"] = state["pool.linear1.weight"][:, :96].clone()
    save_file(state, tmp_path / "model.safetensors")
    found = read_ecapa(tmp_path / "model.safetensors")
    assert not found.options.global_context
    without_norm = {k: v for k, v in state.items() if not k.startswith("bn2.")}
    save_file(without_norm, tmp_path / "model.safetensors")
    assert not read_ecapa(tmp_path / "model.safetensors").options.embedding_norm


def test_which_front_end_must_be_said(shared: Path, tmp_path: Path) -> None:
    file = tmp_path / "embedding_model.ckpt"
    torch.save(original(shared, "speechbrain"), file)
    with pytest.raises(ConfigError, match="frontend=3dspeaker"):
        load_model(str(file))
    centred = load_model(f"{file},frontend=speechbrain")
    kaldi = load_model(f"{file},preset=3dspeaker")
    assert centred.layers[0].grid.start == -200 - 320
    assert kaldi.layers[0].grid.start == -320
    assert centred.fingerprint != kaldi.fingerprint
    with pytest.raises(ConfigError, match="not a checkpoint of preset 'wespeaker'"):
        load_model(f"{file},preset=wespeaker")
    with pytest.raises(ConfigError, match="frontent"):
        load_model(f"{file},frontent=speechbrain")


def test_refusals_of_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no weights file"):
        read_ecapa(tmp_path / "none.pt")
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"not a checkpoint at all")
    with pytest.raises(CheckpointError):
        read_ecapa(broken)
    other = tmp_path / "other.pt"
    torch.save({"weight": torch.zeros(3)}, other)
    with pytest.raises(CheckpointError, match="not an ECAPA-TDNN"):
        read_ecapa(other)
    assert not FAMILY.recognises(parse(str(other)))
    torch.save([torch.zeros(3)], other)
    with pytest.raises(CheckpointError, match="named tensors"):
        read_ecapa(other)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("exploded", "w"))


def test_code_in_a_file_never_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"a": torch.zeros(1)}, "x": Bomb()}, "bomb.pt")
    with pytest.raises(CheckpointError, match="could run code"):
        read_ecapa("bomb.pt")
    assert not Path("exploded").exists()


def test_random_twin_of_a_file_has_its_shape(shared: Path) -> None:
    file = shared / "golden" / "ecapa" / "taoruijie" / "state_dict.safetensors"
    twin, real = load_model(f"random:{file},seed=4"), load_model(str(file))
    assert twin.layers == real.layers
    assert twin.fingerprint != real.fingerprint
    assert twin.fingerprint == load_model(f"random:{file},seed=4").fingerprint
    assert twin.details["seed"] == 4


def test_names_without_weights_and_revisions_are_refused(shared: Path) -> None:
    with pytest.raises(ModelError, match="random:ecapa-512"):
        load_model("ecapa-512")
    with pytest.raises(ModelError, match="no revisions"):
        load_model("random:ecapa@main")


# Counts measured on the public implementations.
@pytest.mark.parametrize(
    ("preset", "options", "parameters", "tensors"),
    [
        ("wespeaker", {"channels": 1024}, 14.66e6, 192),
        ("wespeaker", {"channels": 512}, 6.19e6, 192),
        ("wespeaker", {"channels": 512, "embedding_norm": True}, 6.19e6, 196),
        ("wespeaker", {"channels": 512, "global_context": False}, 5.80e6, 192),
        ("speechbrain", {"channels": 1024}, 20.77e6, 200),
        ("3dspeaker", {"channels": 512}, 6.19e6, 200),
        ("taoruijie", {"channels": 1024}, 15.44e6, 200),
        ("taoruijie", {"channels": 512}, 6.98e6, 200),
        ("rdino", {}, 22.73e6, 200),
    ],
)
def test_sizes_of_the_presets(
    preset: str, options: dict[str, Any], parameters: float, tensors: int
) -> None:
    from voxstrata.models.ecapa.network import Ecapa
    from voxstrata.models.ecapa.options import preset_options

    with torch.device("meta"):
        network = Ecapa(preset_options(preset, options))
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(parameters, abs=6e3)
    names = [n for n in network.state_dict() if not n.endswith("num_batches_tracked")]
    assert len(names) == tensors


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="equal chunks"):
        EcapaOptions(channels=30)
    with pytest.raises(ConfigError, match="chanels"):
        load_model("random:ecapa,chanels=64")
    with pytest.raises(ConfigError, match="preset"):
        load_model("random:ecapa,preset=kaldi")
    with pytest.raises(ConfigError, match="by name"):
        load_model("random:ecapa-512,channels=64")
