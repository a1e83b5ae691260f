"""What a hostile file, name or archive may not do (docs/security.md)."""

from __future__ import annotations

import ast
import json
import os
import socket
import zipfile
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import soundfile as sf

import voxstrata
from voxstrata import load_model
from voxstrata.config import read_yaml
from voxstrata.corpora import load_corpus
from voxstrata.errors import ConfigError, CorpusError, LabelError, VoxstrataError

SOURCE = Path(voxstrata.__file__).parent


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    sf.write(tmp_path / "a.wav", rng.uniform(-0.3, 0.3, 8000), 16000)
    return tmp_path / "a.wav"


def _calls(tree: ast.AST) -> list[str]:
    return [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_nothing_is_unpickled_or_evaluated() -> None:
    """Calls that run what a file says. What dask pickles goes between a run's own processes."""
    refused = {
        "eval", "exec", "compile", "pickle.load", "pickle.loads", "joblib.load", "yaml.load",
        "yaml.full_load", "yaml.unsafe_load", "os.system", "pd.read_pickle", "marshal.loads",
        "shelve.open",
    }  # fmt: skip
    for path in SOURCE.rglob("*.py"):
        text = path.read_text("utf-8")
        if not any(
            f"{name.split('.')[-1]}(" in text or "shell" in text for name in (*refused, "np.load")
        ):
            continue
        tree = ast.parse(text)
        found = refused & set(_calls(tree))
        assert not found, f"{path}: {found}"
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name, given = ast.unparse(node.func), {k.arg: k.value for k in node.keywords}
            if name == "torch.load":
                assert ast.unparse(given["weights_only"]) == "True", path
            if name in ("np.load", "numpy.load"):
                assert ast.unparse(given["allow_pickle"]) == "False", path
            assert "shell" not in given, path


def test_a_tag_in_yaml_makes_no_object(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"a: !!python/object/apply:os.mkdir [{tmp_path / 'made'}]\n")
    with pytest.raises(ConfigError, match="YAML"):
        read_yaml(path)
    assert not (tmp_path / "made").exists()


def test_aliases_that_stand_for_billions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="aliases"):
        read_yaml(path)
    path.write_text("a: &a {b: *a}\n")
    with pytest.raises(ConfigError, match="holds itself"):
        read_yaml(path)
    path.write_text("a: &a [1, 2]\nb: [*a, *a]\n")
    assert read_yaml(path)["b"] == [[1, 2], [1, 2]]


def _cut(recording: dict[str, Any]) -> dict[str, Any]:
    return {"id": "c", "start": 0.0, "duration": 0.5, "channel": 0, "supervisions": [],
            "recording": recording}  # fmt: skip


def _recording(source: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "r", "sources": [{"channels": [0], **source}], "sampling_rate": 16000,
            "num_samples": 8000, "duration": 0.5, **more}  # fmt: skip


@pytest.mark.parametrize("where", ["recording", "room", "track"])
def test_a_manifest_runs_no_command(where: str, wav: Path) -> None:
    made = wav.parent / "made"
    command = {"type": "command", "source": f"touch {made}; cat {wav}"}
    plain = _recording({"type": "file", "source": str(wav)})
    room = {"name": "ReverbWithImpulseResponse", "kwargs": {"rir": _recording(command)}}
    cut = {
        "recording": {"type": "MonoCut", **_cut(_recording(command))},
        "room": {"type": "MonoCut", **_cut(plain | {"transforms": [room]})},
        "track": {"type": "MixedCut", "id": "m", "tracks": [
            {"type": "MonoCut", "cut": _cut(plain), "offset": 0.0},
            {"type": "MonoCut", "cut": _cut(_recording(command)), "offset": 0.1},
        ]},
    }[where]  # fmt: skip
    manifest = wav.parent / "cuts.jsonl"
    manifest.write_text(json.dumps(cut) + "\n")
    with pytest.raises(VoxstrataError, match="not a local file"):
        load_corpus(manifest, on_error="stop")
    for utterance in load_corpus(manifest, check="none"):
        with pytest.raises(VoxstrataError, match="not a local file"):
            utterance.read()
    assert not made.exists()


@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_a_manifest_that_names_a_device_or_pipe_does_not_wait(kind: str, wav: Path) -> None:
    place = Path("/dev/zero")
    if kind == "pipe":
        place = wav.parent / "pipe"
        os.mkfifo(place)
    manifest = wav.parent / "m.jsonl"
    lines = [{"file": "a.wav", "id": "x", "textgrid": str(place)}, {"file": str(place), "id": "y"}]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(CorpusError) as caught:
        load_corpus(manifest, on_error="stop")
    assert "no file" in str(caught.value)
    assert not isinstance(caught.value, LabelError)


def test_an_archive_stays_in_its_folder(tmp_path: Path) -> None:
    from voxstrata.corpora.recipes.ami import read_annotations

    inside = tmp_path / "deep" / "er"
    inside.mkdir(parents=True)
    archive = inside / "ami_public_manual_1.6.2.zip"
    with zipfile.ZipFile(archive, "w") as held:
        for name in ("../../escaped.xml", str(tmp_path / "absolute.xml"), "a/../../../up.xml"):
            held.writestr(name, "<a/>")
        link = zipfile.ZipInfo("link.xml")
        link.external_attr = 0o120777 << 16  # a symbolic link, as `zip -y` keeps it
        held.writestr(link, "/etc")
        held.writestr("corpusResources/meetings.xml", "<meetings/>")
    job: Any = type("Job", (), {"problem": lambda *_told: None})()
    read_annotations(archive, job)
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == [archive.name]


@pytest.mark.parametrize(
    "name", ["../other.safetensors", "/etc/passwd.bin", "a/b.bin", "..\\x.bin", "index.json", ".."]
)
def test_an_index_names_files_beside_it(name: str, tmp_path: Path) -> None:
    from voxstrata.models.huggingface.tensors import read_files

    index = tmp_path / "model" / "model.safetensors.index.json"
    index.parent.mkdir()
    (tmp_path / "other.safetensors").write_bytes(b"")
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(VoxstrataError, match="not the index"):
        read_files([index])


NAMES = ("../../up", "/absolute", "..", "a/../../b", "x\0y", "~root/x", "n" * 300)


@pytest.mark.parametrize("name", NAMES)
def test_names_from_files_become_names_of_files_in_their_folder(name: str, tmp_path: Path) -> None:
    from voxstrata.neurons.job import _name
    from voxstrata.probing.registry import NAME
    from voxstrata.streaming.store import _slug

    layer: Any = type("Layer", (), {"key": f"{name}/0"})()
    made = _slug(0, layer)
    assert (tmp_path / made).resolve().parent == tmp_path
    assert (tmp_path / _name(name)).resolve().parent == tmp_path
    if "n" not in name:
        assert not NAME.fullmatch(name)


def test_utterance_ids_name_no_file(wav: Path) -> None:
    """An id may be anything: a saved corpus holds it as text."""
    manifest = wav.parent / "m.jsonl"
    ids = ["../../up", "/absolute", "..", "con\n"]
    manifest.write_text("".join(json.dumps({"file": "a.wav", "id": id}) + "\n" for id in ids))
    corpus = load_corpus(manifest)
    before = set(wav.parent.parent.rglob("*"))
    corpus.save(wav.parent / "saved")
    after = set(wav.parent.parent.rglob("*"))
    assert all(p.is_relative_to(wav.parent / "saved") for p in after - before)
    assert [u.id for u in load_corpus(wav.parent / "saved")] == ids


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Sockets that were asked for while none could be had."""
    asked: list[Any] = []

    def refuse(*given: Any, **_more: Any) -> NoReturn:
        asked.append(given)
        raise OSError("a socket was asked for")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(OSError, match="asked for"):
        socket.socket().connect(("127.0.0.1", 9))
    asked.clear()
    return asked


def test_models_and_corpora_on_disk_open_no_socket(
    wav: Path, tmp_path: Path, asked: list[Any]
) -> None:
    model: Any = load_model(f"random:{_tiny(tmp_path)}")
    assert model.encode([u.read() for u in load_corpus(wav.parent)], ["1"])
    assert not asked


@pytest.mark.slow
def test_a_run_without_a_hub_id_opens_no_socket(tmp_path: Path, asked: list[Any]) -> None:
    from typer.testing import CliRunner

    from voxstrata.cli import app, commands

    if not app.registered_commands:
        commands.attach(app)
    speech = tmp_path / "speech"
    speech.mkdir()
    rng = np.random.default_rng(1)
    for number in range(6):
        sf.write(speech / f"{number}.wav", rng.uniform(-0.3, 0.3, 9000), 16000)
    model = f"random:{_tiny(tmp_path)}"
    out = str(tmp_path / "out")
    given = [
        "similarity",
        model,
        "mfcc",
        "--corpus",
        str(speech),
        "--out",
        out,
        "--unit",
        "utterance",
    ]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "report.html").is_file()
    assert not asked


def _tiny(folder: Path) -> Path:
    """A folder with the configuration of a small HuBERT."""
    place = folder / "tiny"
    place.mkdir()
    config = {
        "model_type": "hubert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16, "conv_dim": [8, 8], "conv_kernel": [10, 8],
        "conv_stride": [10, 32],
        "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 8,
        "num_conv_pos_embedding_groups": 2,
    }  # fmt: skip
    (place / "config.json").write_text(json.dumps(config))
    return place
