"""ECAPA-TDNN as a stack of layers: table, frames, batching, cuts, precision, receptive field."""

from __future__ import annotations

import pytest
import torch

from voxstrata.errors import AudioError, UnknownNameError, UsageError
from voxstrata.models.base import SpeechModel, choose_layers
from voxstrata.models.ecapa.model import SIDE, EcapaModel
from voxstrata.models.ecapa.network import Ecapa, minimum_frames
from voxstrata.models.ecapa.options import EcapaOptions, preset_options
from voxstrata.models.load import load_model

PRESETS = ("wespeaker", "speechbrain", "3dspeaker", "taoruijie", "rdino")
SMALL = "channels=32,mfa=48,embed=12,attention=8,se=8"
DEFAULT = ["conv", "block1", "block2", "block3", "mfa", "pool", "embedding"]


def small(preset: str = "wespeaker", extra: str = "") -> EcapaModel:
    model = load_model(f"random:ecapa{extra and '@' + extra},preset={preset},{SMALL},seed=1")
    assert isinstance(model, EcapaModel)
    return model


def noise(*lengths: int) -> list[torch.Tensor]:
    maker = torch.Generator().manual_seed(5)
    return [torch.randn(n, generator=maker) * 0.1 * (i + 1) for i, n in enumerate(lengths)]


@pytest.mark.parametrize("preset", PRESETS)
def test_batched_equals_alone(preset: str) -> None:
    model = small(preset)
    assert isinstance(model, SpeechModel)
    waves = noise(6000, 3000, 6000, model.minimum, 3000, 4321)
    names = [info.name for info in model.layers]
    for wave, batched in zip(waves, model.encode(waves, names), strict=True):
        alone = model.encode([wave], names)[0]
        assert list(batched) == names
        for name in names:
            scale = alone[name].abs().max()
            assert (batched[name] - alone[name]).abs().max() <= 1e-5 * scale, name


@pytest.mark.parametrize("preset", PRESETS)
def test_frames_and_widths_match_the_outputs(preset: str) -> None:
    model = small(preset)
    names = [info.name for info in model.layers]
    for extra in (0, 1, 159, 160, 161, 1000, 4321):
        samples = model.minimum + extra
        found = model.encode(noise(samples), names)[0]
        for info in model.layers:
            assert found[info.name].shape == (model.frames(info.name, samples), info.width)
            assert torch.isfinite(found[info.name]).all()
            assert (info.grid is None) == (info.kind == "utterance")
    assert {model.frames(name, model.minimum - 1) for name in names} == {0}


@pytest.mark.parametrize("preset", PRESETS)
def test_one_sample_too_few(preset: str) -> None:
    model = small(preset)
    with pytest.raises(AudioError, match=f"at least {model.minimum} samples"):
        model.encode(noise(16000, model.minimum - 1), ["conv"])
    least = minimum_frames(model.options)
    assert model.front.frames(model.minimum) >= least
    assert model.front.frames(model.minimum - 1) < least


def test_layer_table() -> None:
    model = small()
    assert [info.name for info in choose_layers(model, None)] == DEFAULT
    assert [info.name for info in model.layers] == [*DEFAULT, "mfa.linear"]
    assert [info.width for info in model.layers] == [32, 32, 32, 32, 48, 96, 12, 48]
    with pytest.raises(UnknownNameError, match="block3"):
        model.encode(noise(8000), ["block4"])
    found = model.encode(noise(8000), ["mfa", "mfa.linear"])[0]
    assert torch.equal(found["mfa"], found["mfa.linear"].relu())


@pytest.mark.parametrize(("preset", "start"), [("wespeaker", 0), ("taoruijie", -200)])
def test_grids_are_widened_about_the_same_centre(preset: str, start: int) -> None:
    for info in small(preset).layers:
        if info.grid is None:
            continue
        side = SIDE[info.name] * 160
        assert (info.grid.start, info.grid.receptive) == (start - side, 400 + 2 * side)
        assert info.grid.centre2(3) == 2 * (start + 480) + 400
        assert info.grid.stride == 160


@pytest.mark.parametrize("identity", ["first", "last"])
@pytest.mark.parametrize("summed", [False, True])
def test_receptive_field_of_the_convolutions(identity: str, summed: bool) -> None:
    """With constant gates, a change of one frame reaches SIDE frames and not one more."""
    network = Ecapa(
        EcapaOptions(
            inputs=4, channels=16, mfa=8, embed=4, attention=4, se=4,
            identity=identity, summed=summed,  # type: ignore[arg-type]
        )
    ).double().eval()  # fmt: skip
    with torch.no_grad():
        for block in network.blocks:
            block.se.up.weight.zero_()
            for part in (block.first, block.second, *block.res2):
                part.conv.weight.abs_()  # nothing may cancel or be cut by a ReLU
                part.conv.bias.fill_(1.0)
        network.stem.conv.weight.abs_()
        network.stem.conv.bias.fill_(1.0)
        network.mfa.weight.abs_()
        features = torch.rand(1, 301, 4, dtype=torch.float64)
        changed = features.clone()
        changed[0, 150] += 1.0
        before, after = network.stack(features, "mfa"), network.stack(changed, "mfa")
    for name in before:
        moved = (before[name] != after[name]).any(-1)[0].nonzero().ravel()
        assert (int(moved.min()), int(moved.max())) == (150 - SIDE[name], 150 + SIDE[name]), name


def test_squeeze_excitation_sees_the_whole_recording() -> None:
    # wide enough a bottleneck that not all of its units can be dead by chance
    options = EcapaOptions(inputs=4, channels=16, mfa=8, embed=4, attention=4, se=32)
    network = Ecapa(options).eval()
    features = torch.rand(1, 400, 4)
    changed = features.clone()
    changed[0, 399] += 5.0
    with torch.no_grad():
        before, after = network.stack(features), network.stack(changed)
    assert torch.equal(before["conv"][0, 0], after["conv"][0, 0])
    assert not torch.equal(before["block1"][0, 0], after["block1"][0, 0])


def test_identity_first_is_identity_last_with_channels_rolled() -> None:
    """Rolling the first 1x1 part's outputs and the second's inputs by C/8 turns one into the
    other."""
    sizes = {"inputs": 4, "channels": 32, "mfa": 8, "embed": 4, "attention": 4, "se": 4}
    last = Ecapa(EcapaOptions(**sizes, identity="last")).double().eval()
    first = Ecapa(EcapaOptions(**sizes, identity="first")).double().eval()
    state = last.state_dict()
    for b in range(3):
        for part in ("conv.weight", "conv.bias", "bn.weight", "bn.bias", "bn.running_mean",
                     "bn.running_var"):  # fmt: skip
            name = f"blocks.{b}.first.{part}"
            state[name] = state[name].roll(4, 0)
        name = f"blocks.{b}.second.conv.weight"
        state[name] = state[name].roll(4, 1)
    first.load_state_dict(state)
    features = torch.rand(2, 60, 4, dtype=torch.float64)
    with torch.no_grad():
        assert (last(features) - first(features)).abs().max() < 1e-12


@pytest.fixture
def ran() -> list[str]:
    """Names of the parts of a network that ran; tests fill it through hooks."""
    return []


@pytest.mark.parametrize(
    ("cut", "allowed"),
    [("conv", 0), ("block1", 1), ("block2", 2), ("block3", 3), ("mfa", 4), ("pool", 5)],
)
def test_nothing_above_the_cut_runs(cut: str, allowed: int, ran: list[str]) -> None:
    model = small(extra=cut)
    network = model._module
    assert isinstance(network, Ecapa)
    parts = [network.stem, *network.blocks, network.mfa, network.attention, network.embedding]
    for depth, part in enumerate(parts):
        part.register_forward_hook(lambda *_, depth=depth: ran.append(str(depth)))
    names = [info.name for info in model.layers]
    cut_outputs = model.encode(noise(8000), names)[0]
    assert max(int(n) for n in ran) == allowed
    whole = small()
    full = whole.encode(noise(8000), names)[0]
    assert all(torch.equal(cut_outputs[n], full[n]) for n in names)
    assert names == [n for n in DEFAULT if DEFAULT.index(n) <= DEFAULT.index(cut)] + (
        ["mfa.linear"] if cut in ("mfa", "pool") else []
    )
    assert model.flops_per_second <= whole.flops_per_second
    with pytest.raises(UnknownNameError):
        model.encode(noise(8000), ["embedding"])


def test_only_what_is_asked_for_runs(ran: list[str]) -> None:
    model = small()
    network = model._module
    assert isinstance(network, Ecapa)
    network.blocks[2].register_forward_hook(lambda *_: ran.append("block3"))
    model.encode(noise(8000), ["block2", "conv"])
    assert ran == []
    model.encode(noise(8000), ["block3"])
    assert ran == ["block3"]


def test_seed_fixes_the_weights_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    one, same = small(), small()
    assert torch.equal(torch.rand(3), expected)
    other = load_model(f"random:ecapa,preset=wespeaker,{SMALL},seed=2")
    assert one.fingerprint == same.fingerprint != other.fingerprint


def test_fingerprint_tells_front_end_options_and_precision_apart() -> None:
    model = small()
    prints = {
        model.fingerprint,
        small("3dspeaker").fingerprint,
        load_model(f"random:ecapa,preset=wespeaker,{SMALL},seed=1,frontend=3dspeaker").fingerprint,
        load_model(f"random:ecapa,preset=wespeaker,{SMALL},seed=1,padding=reflect").fingerprint,
        model.to("cpu", "bfloat16").fingerprint,
        model.to("cpu", "float64").fingerprint,
    }
    assert len(prints) == 6
    assert model.to("cpu", "float32").fingerprint == model.fingerprint


@pytest.mark.parametrize("preset", ["wespeaker", "rdino"])
def test_precisions(preset: str) -> None:
    model = small(preset)
    waves = noise(4000, 3000)
    reference = model.encode(waves, DEFAULT)
    for name, kind, tolerance in (
        ("float64", torch.float64, 1e-4),
        ("bfloat16", torch.bfloat16, 0.1),
        ("float16", torch.float16, 0.02),
    ):
        found = model.to("cpu", name).encode(waves, DEFAULT)
        for one, other in zip(reference, found, strict=True):
            for layer in DEFAULT:
                assert other[layer].dtype == kind
                difference = (other[layer].double() - one[layer].double()).abs().max()
                assert difference < tolerance * one[layer].abs().max(), (name, layer)
    assert model.dtype == torch.float32
    rounded = model.to("cpu", "bfloat16")
    with pytest.raises(UsageError, match="load it again"):
        rounded.to("cpu", "float32")
    with pytest.raises(UnknownNameError, match="float16"):
        model.to("cpu", "float61")
    with pytest.raises(UsageError, match="cannot be used"):
        model.to("abacus", "float32")


def test_no_gradients_and_no_layers() -> None:
    model = small()
    assert not model.encode(noise(8000), ["embedding"])[0]["embedding"].requires_grad
    assert model.encode(noise(8000, 9000), []) == [{}, {}]
    assert model.encode([], ["conv"]) == []


def test_training_reaches_every_parameter() -> None:
    """The same module serves the training room: gradients flow through all of it."""
    for preset in PRESETS:
        sizes = {"channels": 16, "embed": 4, "mfa": 12, "se": 4, "attention": 4}
        network = Ecapa(preset_options(preset, sizes)).train()
        network(torch.randn(3, 20, 80)).square().sum().backward()
        bare = [n for n, p in network.named_parameters() if p.grad is None]
        assert bare == []


def test_masks_bring_a_padded_recording_nearer_to_itself() -> None:
    network = Ecapa(preset_options("speechbrain", {"channels": 16, "mfa": 12, "se": 4})).eval()
    frames = torch.randn(2, 80, 80)
    lengths = torch.tensor([80, 50])
    with torch.no_grad():
        masked = network(frames, lengths)
        unmasked = network(frames)
        alone = network(frames[1:, :50])
    assert torch.allclose(masked[0], unmasked[0], atol=1e-5)
    assert (masked[1] - alone[0]).norm() < (unmasked[1] - alone[0]).norm()


def test_records() -> None:
    model = small("taoruijie")
    assert model.details["options"]["summed"] is True
    assert model.details["front_end"]["name"] == "taoruijie"
    assert model.details["parameters"] == sum(p.numel() for p in Ecapa(model.options).parameters())
    assert model.details["random"] is True
    # 14.66 M parameters; the convolutions run a hundred times a second.
    big = load_model("random:ecapa-1024")
    assert 2.0e9 < big.flops_per_second < 3.0e9
