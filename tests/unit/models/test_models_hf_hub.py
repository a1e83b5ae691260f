"""Hub ids: cache first, network only when needed and allowed."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Any

import huggingface_hub
import models_hf_small as hf
import pytest
import torch
from huggingface_hub.utils import (
    EntryNotFoundError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from voxstrata import load_model
from voxstrata.errors import ModelError
from voxstrata.models.huggingface import hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any, **_kwargs: Any) -> Any:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)


def fill(cache: Path, repo: str, name: str, *, weights: bool = True) -> Path:
    root = cache / f"models--{repo.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    folder = hf.write_directory(root / "snapshots" / COMMIT, name)
    if not weights:
        (folder / "model.safetensors").unlink()
    return folder


@pytest.mark.parametrize(
    "spec", ["hubert-base", "facebook/hubert-base-ls960", "facebook/hubert-base-ls960@main"]
)
@pytest.mark.usefixtures("no_network")
def test_the_cache_is_enough(spec: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    folder = fill(cache, "facebook/hubert-base-ls960", "hubert-base")
    model = load_model(spec)
    assert model.details["revision"] == COMMIT
    assert model.spec == spec
    assert model.fingerprint == load_model(folder).fingerprint
    assert model.details["licence"] == "apache-2.0"


@pytest.mark.usefixtures("no_network")
def test_offline_and_not_cached(cache: Path) -> None:
    for spec in ("hubert-base", "someone/their-model", "wavlm-large@12"):
        with pytest.raises(ModelError, match="network is off") as caught:
            load_model(spec)
        assert "random:" in str(caught.value)
    fill(cache, "facebook/hubert-base-ls960", "hubert-base", weights=False)
    with pytest.raises(ModelError, match="configuration cached, weights not"):
        load_model("hubert-base")


@pytest.mark.usefixtures("no_network", "cache")
def test_twins_and_tables_need_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from voxstrata.models.load import describe

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    load_model("random:sew-tiny,layers=1").encode([torch.zeros(2_000)], ["1"])
    layers, facts = describe("wavlm-large")
    assert [i.name for i in layers if i.default] == [str(n) for n in range(25)]
    assert facts["pre_norm"] is True


@pytest.mark.usefixtures("no_network")
def test_a_cached_configuration_is_enough_for_a_twin(cache: Path) -> None:
    fill(cache, "someone/their-model", "sew", weights=False)
    model = load_model("random:someone/their-model")
    assert model.details["blocks"] == 3
    assert model.details["revision"] == COMMIT


class GoneError(RepositoryNotFoundError):
    """As the client raises it, without the HTTP response it wants."""

    def __init__(self) -> None:
        Exception.__init__(self, "404")


class FakeHub:
    """Serves a directory as if from the hub, into the cache."""

    def __init__(self, source: Path, cache: Path, refuse: dict[str, Exception] | None = None):
        self.source, self.cache, self.refuse = source, cache, refuse or {}
        self.asked: list[tuple[str, str | None]] = []

    def __call__(self, repo: str, name: str, *, revision: str | None, cache_dir: str) -> str:
        assert Path(cache_dir) == self.cache
        self.asked.append((name, revision))
        if name in self.refuse:
            raise self.refuse[name]
        if not (self.source / name).is_file():
            raise EntryNotFoundError(f"no {name}")
        root = self.cache / f"models--{repo.replace('/', '--')}"
        target = root / "snapshots" / COMMIT / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.source / name, target)
        (root / "refs").mkdir(exist_ok=True)
        (root / "refs" / (revision or "main")).write_text(COMMIT)
        return str(target)


def serve(monkeypatch: pytest.MonkeyPatch, fake: FakeHub) -> FakeHub:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fake)
    return fake


def test_downloads_what_is_missing_once(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = hf.write_directory(tmp_path / "source", "wavlm-base")
    fake = serve(monkeypatch, FakeHub(source, cache))
    model = load_model("someone/wavlm@v1")
    assert fake.asked == [
        ("config.json", "v1"),
        ("preprocessor_config.json", "v1"),
        ("model.safetensors", "v1"),
    ]
    assert model.details["revision"] == COMMIT
    assert load_model("someone/wavlm@v1@2").details["parameters"] < model.details["parameters"]
    assert len(fake.asked) == 3


def test_bin_is_the_second_choice(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = hf.write_directory(tmp_path / "source", "hubert-base")
    torch.save(hf.reference("hubert-base").state_dict(), source / "pytorch_model.bin")
    (source / "model.safetensors").unlink()
    (source / "preprocessor_config.json").unlink()
    fake = serve(monkeypatch, FakeHub(source, cache))
    model = load_model("hubert-base")
    assert [name for name, _ in fake.asked][-1] == "pytorch_model.bin"
    assert model.details["weights"] == ["pytorch_model.bin"]
    assert model.details["input_normalisation_from"] == "built-in table"


def test_shards_are_fetched(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = hf.reference("hubert-base")
    module.save_pretrained(tmp_path / "source", max_shard_size="60KB")
    serve(monkeypatch, FakeHub(tmp_path / "source", cache))
    model = load_model("someone/sharded,normalize=false")
    local = load_model(hf.write_directory(tmp_path / "whole", "hubert-base", module))
    wave = hf.noise(3_000)
    assert torch.equal(model.encode([wave], ["3"])[0]["3"], local.encode([wave], ["3"])[0]["3"])


def test_failures_are_told_apart(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "config.json").write_text('{"model_type": "wavlm"}')
    serve(monkeypatch, FakeHub(empty, cache))
    with pytest.raises(ModelError, match="no weights that voxstrata reads"):
        load_model("someone/no-weights")
    serve(monkeypatch, FakeHub(empty, cache, {"config.json": GoneError()}))
    with pytest.raises(ModelError, match="there is no model 'someone/absent'"):
        load_model("someone/absent")
    serve(monkeypatch, FakeHub(empty, cache, {"config.json": ConnectionError("no route")}))
    with pytest.raises(ModelError, match="no route") as caught:
        load_model("someone/far")
    assert "HF_HUB_OFFLINE" in str(caught.value)
    serve(monkeypatch, FakeHub(empty, cache, {"config.json": LocalEntryNotFoundError("retries")}))
    with pytest.raises(ModelError, match="the hub cannot be reached"):
        load_model("someone/far")
    assert hub.cached("someone/far", None) is None
