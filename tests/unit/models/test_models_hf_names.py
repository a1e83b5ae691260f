"""Every hub id that the documentation names, built small; twins; normalisation; precision."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import models_hf_small as hf
import pytest
import torch
import transformers

from voxstrata import load_model
from voxstrata.errors import (
    ConfigError,
    MissingDependencyError,
    ModelError,
    UnknownNameError,
    UsageError,
)
from voxstrata.models.huggingface import architectures, build, lib
from voxstrata.models.huggingface.kinds import KINDS, config_object, kind_of, normalize_rule
from voxstrata.models.huggingface.save import make_random
from voxstrata.types import FrameGrid

DOC = Path(__file__).resolve().parents[3] / "docs" / "models.md"
ROW = re.compile(
    r"^\| `([^`]+)` \| `([^`]+/[^`]+)` \| (\d+) \| (\d+) \| (\w+) \| ([\w ]+) \|$", re.M
)
DOCUMENTED = {row[1]: row for row in ROW.findall(DOC.read_text(encoding="utf-8"))}


def shrink(config: dict[str, Any]) -> dict[str, Any]:
    """The same architecture, narrow and two blocks deep."""
    if config["model_type"] == "whisper":
        small = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 4}
        return {**config, **small, "encoder_ffn_dim": 40}
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    small |= {"intermediate_size": 40}
    if config["model_type"] == "sew":
        small |= {"conv_dim": [4, 8, 8, 8, 8, 8, 8, 8, 8, 16, 16, 16, 16]}
    elif config["model_type"] != "wav2vec2-bert":
        small |= {"conv_dim": [16] * 7}
    return {**config, **small}


def test_documentation_and_table_name_the_same_models() -> None:
    assert set(DOCUMENTED) == {row.hub for row in architectures.table().values()}
    in_text = set(re.findall(r"`((?:facebook|microsoft|openai|asapp)/[\w.-]+)", DOC.read_text()))
    assert in_text <= set(DOCUMENTED)
    assert len(DOCUMENTED) >= 25


@pytest.mark.parametrize("hub", sorted(DOCUMENTED))
def test_documented_architecture(hub: str) -> None:
    name, _, depth, width, norm, scaled = DOCUMENTED[hub]
    row = architectures.lookup(hub)
    assert row is not None
    assert architectures.lookup(name) is row
    full = config_object(row.as_config(), hub)
    key = "encoder_layers" if row.model_type == "whisper" else "num_hidden_layers"
    assert getattr(full, key) == int(depth)
    assert getattr(full, "d_model" if row.model_type == "whisper" else "hidden_size") == int(width)
    assert (scaled in ("yes", "mel bins")) == row.normalize
    # the family rule, used for unknown directories, agrees with what is published
    assert normalize_rule(full, KINDS[row.model_type]) == row.normalize
    if row.model_type not in ("whisper", "wav2vec2-bert"):
        # transformers chooses its pre-norm encoder by this flag
        made = build.empty_module(
            kind_of(shrink(row.as_config()), hub), config_object(shrink(row.as_config()), hub)
        )
        assert ("Stable" in type(made.encoder).__name__) == (norm == "pre")


@pytest.mark.parametrize("hub", sorted(DOCUMENTED))
def test_documented_model_built_small(hub: str, tmp_path: Path) -> None:
    _, _, _, _, norm, scaled = DOCUMENTED[hub]
    row = architectures.lookup(hub)
    assert row is not None
    config = shrink(row.as_config())
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = load_model(f"random:{tmp_path}")
    layers = {i.name: i for i in model.layers}
    numbered = [n for n in layers if n.isdigit()]
    assert numbered == ["0", "1", "2"]
    assert all(layers[n].width == 32 and layers[n].default for n in numbered)
    grids = {
        "sew": FrameGrid(640, 720, 0),
        "wav2vec2-bert": FrameGrid(320, 560, 0),
        "whisper": FrameGrid(320, 1040, -520),
    }
    assert layers["1"].grid == grids.get(row.model_type, FrameGrid(320, 400, 0))
    convs = [n for n in layers if n.startswith("conv")]
    assert len(convs) == {"sew": 13, "wav2vec2-bert": 0, "whisper": 2}.get(row.model_type, 7)
    assert model.details["pre_norm"] == (norm == "pre")
    assert model.details["input_normalisation"] == (scaled in ("yes", "mel bins"))
    wave = hf.noise(3_000)
    found = model.encode([wave], list(layers))[0]
    for name, info in layers.items():
        assert found[name].shape == (model.frames(name, 3_000), info.width)
    if row.model_type == "wav2vec2-bert":
        louder = model.encode([3 * wave], ["2"])[0]["2"]
        assert hf.error(louder, found["2"]) < 1e-3
    else:
        extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=scaled == "yes")
        expected = extractor(wave.numpy(), sampling_rate=16000).input_values[0]
        assert hf.error(model.shape.scale(wave), torch.as_tensor(expected)) < 1e-5
        assert (hf.error(model.shape.scale(wave), wave) == 0) == (scaled == "no")
    if norm == "pre":
        last = load_model(f"random:{tmp_path},final_norm=true").encode([wave], ["2"])[0]["2"]
        assert last.mean(1).abs().max() < 1e-4  # untrained LayerNorm: zero mean a frame
        assert found["2"].mean(1).abs().max() > 1e-3


def test_twins_are_seeded_and_leave_the_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    one = load_model("random:sew-tiny,layers=1")
    assert torch.equal(torch.randn(3), expected)
    two = load_model("random:sew-tiny", layers=1, seed=0)
    other = load_model("random:sew-tiny,layers=1,seed=1")
    wave = hf.noise(3_000)
    first, second, third = (m.encode([wave], ["1"])[0]["1"] for m in (one, two, other))
    assert torch.equal(first, second)
    assert hf.error(third, first) > 0.01
    assert one.fingerprint == two.fingerprint != other.fingerprint
    assert other.details["seed"] == 1
    assert load_model("random:asapp/sew-tiny-100k,layers=1").fingerprint == one.fingerprint


def test_an_unset_seed_is_seed_zero_and_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="untrained twins only"):
        load_model("hubert-base,seed=1")
    with pytest.raises(ConfigError, match="did you mean 'final_norm'"):
        load_model("random:hubert-base,final_nrom=true")
    with pytest.raises(ConfigError, match="layers"):
        load_model("random:hubert-base,layers=many")
    with pytest.raises(ConfigError, match="layer0=cnn"):
        load_model("random:wav2vec2-bert,layers=1,layer0=cnn")
    with pytest.raises(UnknownNameError, match="cut model"):
        load_model("random:hubert-base@13,layers=2")


@pytest.mark.parametrize(
    "name",
    [
        "wavlm-base",
        "unispeech-sat-base",
        "data2vec-audio-base",
        "sew-tiny",
        "whisper-tiny",
        "wav2vec2-bert",
    ],
)
def test_saved_twins_load_by_path(name: str, tmp_path: Path) -> None:
    facts = make_random(name, tmp_path / "out", seed=3, layers=1)
    assert facts["blocks"] == 1
    twin, saved = load_model(f"random:{name},seed=3,layers=1"), load_model(tmp_path / "out")
    wave = hf.noise(3_000)
    names = [i.name for i in twin.layers]
    assert names == [i.name for i in saved.layers]
    one, two = twin.encode([wave], names)[0], saved.encode([wave], names)[0]
    assert all(torch.equal(one[n], two[n]) for n in names)
    assert saved.details["input_normalisation"] == twin.details["input_normalisation"]
    assert saved.details["not_used"] in ([], ["masked_spec_embed"])
    with pytest.raises(UsageError, match="not an empty directory"):
        make_random(name, tmp_path / "out")


def test_saved_twins_are_readable_by_transformers(tmp_path: Path) -> None:
    make_random("wavlm-base", tmp_path / "out", layers=1)
    module, info = transformers.WavLMModel.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    wave = hf.noise(3_000)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(tmp_path / "out")
    values = extractor(wave.numpy(), sampling_rate=16000, return_tensors="pt").input_values
    with torch.no_grad():
        expected = module.eval()(values).last_hidden_state[0]
    assert hf.error(load_model(tmp_path / "out").encode([wave], ["1"])[0]["1"], expected) < 1e-5


def test_where_input_normalisation_comes_from(tmp_path: Path) -> None:
    folder = hf.write_directory(tmp_path / "m", "wavlm-large")
    wave = hf.noise(3_000)

    def told(**options: Any) -> tuple[bool, str]:
        model = load_model(folder, **options)
        heard = hf.error(
            model.encode([3 * wave], ["1"])[0]["1"], model.encode([wave], ["1"])[0]["1"]
        )
        assert (heard < 1e-3) == model.details["input_normalisation"]
        return (
            model.details["input_normalisation"],
            model.details["input_normalisation_from"],
        )

    assert told() == (True, "preprocessor_config.json")
    (folder / "preprocessor_config.json").write_text('{"do_normalize": false}')
    # LayerNorm in the first convolution hides a gain where there is no bias, so look at an offset
    assert load_model(folder).details["input_normalisation"] is False
    assert told(normalize=True) == (True, "option")
    (folder / "preprocessor_config.json").unlink()
    assert told() == (True, "family rule")
    assert load_model(folder, normalize=False).details["input_normalisation"] is False


def test_lower_precision_is_close_and_told(tmp_path: Path) -> None:
    for name in ("hubert-base", "wavlm-large", "whisper"):
        folder = f"random:{hf.write_directory(tmp_path / name, name)}"
        exact = load_model(folder)
        wave, names = hf.noise(8_000), ["0", "1", "3"]
        expected = exact.encode([wave], names)[0]
        wide = load_model(folder, dtype="float64")
        assert wide.details["dtype"] == "float64"
        for dtype, bound in (("bfloat16", 0.08), ("float16", 0.01), ("float64", 1e-4)):
            model = load_model(folder, dtype=dtype)
            found = model.encode([wave], names)[0]
            assert model.fingerprint != exact.fingerprint
            for layer in names:
                assert found[layer].dtype == getattr(torch, dtype)
                off = (found[layer].double() - expected[layer].double()).norm()
                assert 0 < off / expected[layer].double().norm() < bound, (name, dtype, layer)
            if dtype != "float64":
                with pytest.raises(UsageError, match="have been rounded"):
                    model.to("cpu", "float32")
        assert exact.details["dtype"] == "float32"
        again = exact.encode([wave], names)[0]
        assert all(torch.equal(again[n], expected[n]) for n in names)


def test_wrong_low_precision_kernels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model("random:wavlm-base,layers=1")
    right = torch.nn.Conv1d.forward

    def wrong(self: torch.nn.Conv1d, values: torch.Tensor) -> torch.Tensor:
        found = right(self, values)
        return found.flip(1) if found.dtype == torch.bfloat16 else found

    monkeypatch.setattr(torch.nn.Conv1d, "forward", wrong)
    with pytest.raises(ModelError, match="wrong numbers in bfloat16"):
        model.to("cpu", "bfloat16")
    assert model.to("cpu", "float16").dtype == "float16"


def test_unknown_dtype_and_device() -> None:
    model = load_model("random:sew-tiny,layers=1")
    with pytest.raises(UsageError, match="dtype"):
        model.to("cpu", "int8")
    with pytest.raises(UsageError, match="device"):
        model.to("no-such-device", "float32")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="cannot be used"):
            model.to("cuda", "float32")


def test_unknown_layers_are_named() -> None:
    model = load_model("random:sew-tiny,layers=1")
    with pytest.raises(UnknownNameError, match=r"did you mean 'block\.1\.ffn\.inner'"):
        model.encode([hf.noise(3_000)], ["block.1.ffn.iner"])
    with pytest.raises(UnknownNameError):
        model.frames("7", 3_000)


def test_flops_grow_with_depth() -> None:
    one, two = (load_model(f"random:sew-tiny,layers={n}").flops_per_second for n in (1, 2))
    cut = load_model("random:sew-tiny@1,layers=2").flops_per_second
    assert 0 < cut == one < two
    # 12 blocks of 7.1 M weights at 50 frames a second, plus convolutions: about 13 GFLOPs
    # published size of HuBERT Base, less its mask vector and the weight norm's magnitudes
    assert load_model("random:hubert-base").details["parameters"] == 94_371_712 - 768 - 128
    assert 10e9 < load_model("random:hubert-base").flops_per_second < 20e9


@pytest.mark.parametrize("failure", [OSError("libc10_cuda.so: no"), ImportError("half installed")])
def test_broken_transformers_points_to_the_doctor(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str) -> Any:
        raise failure

    monkeypatch.setattr(lib.importlib, "import_module", broken)
    with pytest.raises(MissingDependencyError, match="voxstrata doctor"):
        lib.transformers_class("HubertModel")


def test_absent_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'transformers'", name="transformers")

    monkeypatch.setattr(lib.importlib, "import_module", absent)
    with pytest.raises(MissingDependencyError, match="pip install transformers"):
        lib.transformers_module()


def test_too_old_transformers() -> None:
    with pytest.raises(MissingDependencyError, match="no SpeechModelOfTomorrow"):
        lib.transformers_class("SpeechModelOfTomorrow")


def test_a_broken_torchaudio_is_told(tmp_path: Path) -> None:
    """A torchaudio that cannot load its libraries, as a CUDA build beside a CPU torch."""
    package = tmp_path / "torchaudio"
    package.mkdir()
    (package / "__init__.py").write_text("raise OSError('libc10_cuda.so: cannot open')\n")
    facts = tmp_path / "torchaudio-2.11.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: torchaudio\nVersion: 2.11.0\n")
    code = (
        "from voxstrata import load_model\n"
        "from voxstrata.errors import MissingDependencyError\n"
        "try:\n"
        "    load_model('random:hubert-base,layers=1')\n"
        "except MissingDependencyError as error:\n"
        "    assert 'voxstrata doctor' in str(error) and 'libc10_cuda' in str(error), error\n"
        "    print('told')\n"
        "else:\n"
        "    print('unharmed')\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    # Versions of transformers that do not look for torchaudio here are unharmed by it.
    assert found.stdout.strip() in ("told", "unharmed")
    if transformers.__version__.startswith("5.23."):
        assert found.stdout.strip() == "told"
