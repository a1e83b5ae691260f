"""Groups of equal length, safe readers, hashes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from voxstrata.errors import AudioError, CheckpointError
from voxstrata.models.batching import check_audio, equal_length_groups
from voxstrata.models.weights import (
    hash_tensors,
    load_strictly,
    names_in_file,
    read_checkpoint,
    tensor_names,
)


@given(st.lists(st.integers(1, 5), max_size=20), st.none() | st.integers(1, 4))
def test_groups_partition_by_length(lengths: list[int], limit: int | None) -> None:
    groups = equal_length_groups(lengths, limit)
    assert sorted(i for g in groups for i in g) == list(range(len(lengths)))
    assert all(len({lengths[i] for i in g}) == 1 for g in groups)
    assert all(limit is None or len(g) <= limit for g in groups)
    assert groups == sorted(groups)
    if limit is None:
        assert len(groups) == len(set(lengths))


def test_audio_checks() -> None:
    check_audio([torch.zeros(400)], 400, "m")
    with pytest.raises(AudioError, match=r"recording 1 .* too short"):
        check_audio([torch.zeros(400), torch.zeros(399)], 400, "m")
    with pytest.raises(AudioError, match="not mono"):
        check_audio([torch.zeros(400, dtype=torch.int16)], 400, "m")


def test_hash_depends_on_everything_but_order() -> None:
    base = {"a": torch.zeros(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}
    same = dict(reversed(base.items()))
    assert hash_tensors(base) == hash_tensors(same)
    others = [
        {**base, "a": torch.zeros(3, 2)},
        {**base, "a": torch.zeros(2, 3, dtype=torch.float64)},
        {**base, "a": torch.full((2, 3), 1e-20)},
        {"c": base["a"], "b": base["b"]},
        {**base, "d": torch.tensor(3)},
        {**base, "e": torch.zeros(0)},
    ]
    assert len({hash_tensors(o) for o in [base, *others]}) == 7
    strided = {**base, "a": torch.zeros(3, 2).T}
    assert hash_tensors(strided) == hash_tensors(base)


def test_reading(tmp_path: Path) -> None:
    state = {"a": torch.arange(3.0), "b": torch.zeros(2, dtype=torch.long)}
    save_file(state, tmp_path / "x.safetensors")
    torch.save(state, tmp_path / "x.pt")
    for name in ("x.safetensors", "x.pt"):
        found = read_checkpoint(tmp_path / name)
        assert found.keys() == state.keys()
        assert all(torch.equal(found[k], state[k]) for k in state)
        assert tensor_names(tmp_path / name) == {"a", "b"}
        assert names_in_file(str(tmp_path / name)) == {"a", "b"}
    torch.save({"model": {"deep": state}, "step": 3}, tmp_path / "y.pt")
    assert tensor_names(tmp_path / "y.pt") == {"a", "b"}
    with pytest.raises(CheckpointError, match="model, step"):
        read_checkpoint(tmp_path / "y.pt")


def test_damage(tmp_path: Path) -> None:
    whole = tmp_path / "x.safetensors"
    save_file({"a": torch.arange(300.0)}, whole)
    torch.save({"a": torch.arange(300.0)}, tmp_path / "x.pt")
    for name in ("x.safetensors", "x.pt"):
        data = (tmp_path / name).read_bytes()
        for cut in (0, 5, len(data) // 2, len(data) - 10):
            short = tmp_path / f"short{cut}{Path(name).suffix}"
            short.write_bytes(data[:cut])
            with pytest.raises(CheckpointError, match="short"):
                read_checkpoint(short)
            with pytest.raises(CheckpointError):
                names_in_file(str(short))
    assert names_in_file(str(tmp_path)) == set()
    assert names_in_file("owner/model") == set()
    assert names_in_file("x" * 5000 + ".pt") == set()
    (tmp_path / "notes.txt").write_text("hello")
    assert names_in_file(str(tmp_path / "notes.txt")) == set()


def test_strict_loading_lists_all_problems() -> None:
    module = torch.nn.Linear(3, 2)
    load_strictly(module, {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}, "file")
    assert float(module.weight.detach().sum()) == 6
    with pytest.raises(CheckpointError) as caught:
        load_strictly(module, {"weight": torch.ones(3, 2), "scale": torch.zeros(2)}, "file")
    text = str(caught.value)
    assert "missing: bias" in text
    assert "unexpected: scale" in text
    assert "weight (3, 2) instead of (2, 3)" in text
