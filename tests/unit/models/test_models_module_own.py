"""Modules of the user's own: hooks, measured grids, stated grids, early stop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from voxstrata import load_model
from voxstrata.errors import AudioError, ModelError, UnknownNameError, UsageError
from voxstrata.models import SpeechModel, from_module
from voxstrata.types import FrameGrid


class Local(nn.Module):
    """Two convolutions on [B, S]; the second is padded; then a linear layer and a mean."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one = nn.Conv1d(1, 6, 10, stride=5)
        self.two = nn.Conv1d(6, 4, 3, stride=4, padding=1)
        self.linear = nn.Linear(4, 5)
        self.runs: list[str] = []

    def forward(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.one(wave[:, None]).tanh()
        hidden = self.two(hidden).tanh()
        frames = self.linear(hidden.transpose(1, 2))
        self.runs.append("whole")
        return frames.mean(1), frames


class Attending(nn.Module):
    """A convolution and one Transformer block."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv1d(1, 8, 400, stride=320)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 3))

    def forward(self, wave: Tensor) -> Tensor:
        hidden = self.block(self.conv(wave[:, None]).transpose(1, 2))
        found: Tensor = self.head(hidden.transpose(1, 2))
        return found


def test_measured_grids_are_exact() -> None:
    net = Local()
    model = from_module(net, ["one", "two", "linear"], name="local", probe_s=0.1)
    assert isinstance(model, SpeechModel)
    grids = {i.name: i.grid for i in model.layers}
    assert grids["one"] == FrameGrid(5, 10, 0)
    # one frame of padding on the left: 5 samples before the start; 3 frames see 10 + 2 * 5
    assert grids["two"] == grids["linear"] == FrameGrid(20, 20, -5)
    assert [i.width for i in model.layers] == [6, 4, 5]
    for samples in (10, 11, 29, 30, 31, 100, 1_234):
        with torch.no_grad():
            one = net.one(torch.zeros(1, 1, samples))
            two = net.two(one)
        assert model.frames("one", samples) == one.shape[-1]
        assert model.frames("two", samples) == two.shape[-1]


def test_outputs_are_what_the_module_gives() -> None:
    net = Local()
    model = from_module(net, {"early": "one", "late": "linear"}, probe_s=0.1)
    audio = [torch.randn(1_000), torch.randn(333)]
    for wave, found in zip(audio, model.encode(audio, ["late", "early"]), strict=True):
        with torch.no_grad():
            assert torch.equal(found["late"], net(wave[None])[1][0])
            assert torch.equal(found["early"], net.one(wave[None, None])[0].T)
        assert list(found) == ["late", "early"]


def test_nothing_above_the_highest_layer_runs() -> None:
    net = Local()
    model = from_module(net, ["one", "two"], probe_s=0.1)
    net.runs.clear()
    model.encode([torch.randn(500)], ["one"])
    assert net.runs == []
    hooks = sum(len(part._forward_hooks) for part in net.modules())
    assert hooks == 0


def test_global_layers_must_be_stated() -> None:
    net = Attending()
    with pytest.raises(ModelError, match="cannot measure which samples") as caught:
        from_module(net, ["conv", "block"])
    assert "grid=FrameGrid" in str(caught.value)
    grid = FrameGrid(320, 400, 0)
    model = from_module(net, {"1": "block"}, grid=grid)
    assert model.layers[0].grid == grid
    assert model.frames("1", 399) == 0
    assert model.frames("1", 720) == 2
    mixed = from_module(net, ["conv", "block"], grid={"block": grid})
    assert [i.grid for i in mixed.layers] == [grid, grid]


def test_a_wrong_stride_is_refused() -> None:
    with pytest.raises(ModelError, match="a frame every 320 samples"):
        from_module(Attending(), ["block"], grid=FrameGrid(160, 400, 0))


def test_utterance_layers() -> None:
    net = Attending()
    model = from_module(net, {"vector": "head"})
    (info,) = model.layers
    assert (info.kind, info.width, info.grid) == ("utterance", 3, None)
    assert model.frames("vector", 16_000) == 1
    wave = torch.randn(5_000)
    with torch.no_grad():
        assert torch.equal(model.encode([wave], ["vector"])[0]["vector"], net(wave[None]))


def test_prepare_and_load_model() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv1d(1, 3, 4, stride=4)

        def forward(self, *, audio: Tensor, gain: float) -> Tensor:
            found: Tensor = self.layer(audio[None, None] * gain)
            return found

    model = load_model(
        Named(),
        layers=["layer"],
        name="named",
        prepare=lambda wave: {"audio": wave, "gain": 2.0},
        probe_s=0.05,
        dtype="float64",
    )
    assert model.spec == "named"
    assert model.encode([torch.ones(8)], ["layer"])[0]["layer"].dtype == torch.float64
    assert model.layers[0].grid == FrameGrid(4, 4, 0)
    pair = from_module(
        Pair(), ["layer"], prepare=lambda wave: (wave[None], wave[None]), probe_s=0.05
    )
    assert pair.encode([torch.ones(8)], ["layer"])[0]["layer"].shape == (2, 3)


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv1d(1, 3, 4, stride=4)

    def forward(self, one: Tensor, two: Tensor) -> Tensor:
        found: Tensor = self.layer((one + two)[:, None])
        return found


def test_fingerprints_follow_the_weights() -> None:
    one, two = Local(), Local()
    first = from_module(one, ["one"], probe_s=0.1)
    assert first.fingerprint == from_module(two, ["one"], probe_s=0.1).fingerprint
    with torch.no_grad():
        two.one.weight += 1e-3
    assert first.fingerprint != from_module(two, ["one"], probe_s=0.1).fingerprint
    rounded = first.to("cpu", "bfloat16")
    assert rounded.fingerprint != first.fingerprint
    assert one.one.weight.dtype == torch.float32  # the user's module is left alone
    wave = torch.randn(100)
    assert rounded.encode([wave], ["one"])[0]["one"].dtype == torch.bfloat16
    with pytest.raises(UsageError, match="have been rounded"):
        rounded.to("cpu", "float32")


def test_bad_requests() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'linear'"):
        from_module(Local(), ["liner"])
    with pytest.raises(UsageError, match="at least one layer"):
        from_module(Local(), [])
    with pytest.raises(UnknownNameError, match="grid="):
        from_module(Local(), ["one"], grid={"three": FrameGrid(1, 1)})
    model = from_module(Local(), ["one"], probe_s=0.1)
    with pytest.raises(UnknownNameError):
        model.encode([torch.randn(100)], ["two"])
    with pytest.raises(AudioError, match="at least 10 samples"):
        model.encode([torch.randn(9)], ["one"])
    with pytest.raises(UsageError):
        model.to("cpu", "int4")


class Odd(nn.Module):
    """Misbehaves as told."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.part = nn.Identity()
        self.never = nn.Identity()

    def forward(self, wave: Tensor) -> Any:
        if self.how == "fails":
            raise RuntimeError("boom")
        if self.how == "uneven":
            return self.part(torch.ones(1, int(wave.shape[1] ** 0.5), 4) * wave.mean())
        if self.how == "text":
            return self.part("no tensor")
        if self.how == "square":
            return self.part(wave[:, :, None] * wave[:, None, :])
        return self.part(wave[:, ::4, None])


@pytest.mark.parametrize(
    ("how", "layer", "message"),
    [
        ("fails", "part", "boom"),
        ("uneven", "part", "even steps"),
        ("text", "part", "no tensor"),
        ("square", "part", "which axis"),
        ("fine", "never", "does not run never"),
    ],
)
def test_modules_that_do_not_fit(how: str, layer: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        from_module(Odd(how), [layer], probe_s=0.02)
