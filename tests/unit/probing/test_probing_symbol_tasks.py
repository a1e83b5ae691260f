"""Tasks that write symbols: what becomes of phones and texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxstrata.errors import LabelError, UsageError
from voxstrata.probing.heads.specaug import FeatureMasks
from voxstrata.probing.registry import get_task
from voxstrata.probing.settings import read_protocol
from voxstrata.probing.sources import Material, TaskSource
from voxstrata.probing.task import TaskData
from voxstrata.probing.tasks.symbols import SymbolTask
from voxstrata.types import Segment, Utterance


def phones(labels: str) -> tuple[Segment, ...]:
    return tuple(Segment(i, i + 1, label) for i, label in enumerate(labels.split()))


def parts(tier: str, train: list[Any], test: list[Any]) -> Material:
    held = {
        part: tuple(
            Utterance(f"{part}{i}", 9.0, {tier: value, "speaker": part})
            for i, value in enumerate(values)
        )
        for part, values in (("train", train), ("dev", test), ("test", test))
    }
    return Material(TaskSource(train="a", dev="b", test="c"), held)


def said(data: TaskData, part: str) -> list[list[str]]:
    names = next(iter(data.classes.values()))
    examples: Any = data.rounds[0].parts[part]
    return [[names[i] for i in row] for row in examples.symbols]


def test_phones_lose_stress_and_silence() -> None:
    told = parts("phones", [phones("SIL AH0 B spn AH1"), phones("B SIL")], [phones("B AH2 Z")])
    data = get_task("pr").data(told, 0)
    assert data.classes == {"phones": ("<blank>", "<eos>", "<unk>", "AH", "B")}
    assert said(data, "train") == [["AH", "B", "AH"], ["B"]]
    assert said(data, "test") == [["B", "AH", "<unk>"]]
    assert data.dropped["symbols of test that are not in training (each an error)"] == 1
    task = get_task("pr")
    assert isinstance(task, SymbolTask)
    stressed = task.model_copy(update={"stress": True}).data(told, 0)
    assert said(stressed, "train")[0] == ["AH0", "B", "AH1"]


def test_texts_become_letters_and_marks() -> None:
    told = parts("text", ["It's  ten - o\u2019clock!", ""], ["a"])
    data = get_task("asr").data(told, 0)
    names = data.classes["characters"]
    assert len(names) == 3 + 28
    assert ["".join(row) for row in said(data, "train")] == ["IT'S|TEN|O'CLOCK|"]
    assert data.dropped["text is empty"] == 1
    assert data.dropped["characters that are no letters (each left out of its text)"] == 2


def test_words_and_characters_are_counted() -> None:
    task: Any = get_task("asr")
    names = ["<blank>", "<eos>", "<unk>", "|", "A", "B"]
    wanted = [np.array([4, 5, 3, 4, 3]), np.array([4, 3])]
    heard = [np.array([4, 4, 3, 3, 4]), np.array([], np.int64)]
    found = task.counts(names, wanted, heard)
    np.testing.assert_array_equal(found["wer"], ([1, 1], [2, 1]))  # "ab a" as "aa a"; "a" as ""
    np.testing.assert_array_equal(found["cer"], ([1, 1], [4, 1]))


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="needs a tier"):
        get_task("asr").data(parts("phones", [phones("B")], [phones("B")]), 0)
    with pytest.raises(UsageError, match="no recording is left"):
        get_task("pr").data(parts("phones", [phones("SIL")], [phones("SIL")]), 0)
    with pytest.raises(UsageError, match="no recording for dev"):
        get_task("pr").data(parts("phones", [phones("B A")], [phones("SIL")]), 0)
    file = tmp_path / "ipa.yaml"
    file.write_text(
        "name: ipa\ntitle: IPA\nsummary: phones\nwrites: phones\ntier: phones_ipa\nmeasures: per\n"
    )
    with pytest.raises(Exception, match="measures"):
        get_task(str(file))
    file.write_text(file.read_text().replace("measures: per", "measures: [per]"))
    assert get_task(str(file)).tiers == ("phones_ipa",)


def test_published_constants() -> None:
    superb = read_protocol("superb")
    pr, asr = superb.of("pr"), superb.of("asr")
    assert (pr.steps, pr.batch, pr.hidden, pr.clip, pr.every, pr.end) == (
        *(100_000, 32, 256, 1.0, 1000),
        True,
    )
    assert (asr.steps, asr.batch, asr.hidden, asr.clip, asr.every, asr.end) == (
        *(200_000, 16, 1024, 1.0, 2000),
        True,
    )
    assert pr.stride is asr.stride is None
    assert asr.masks == FeatureMasks(
        warp=5, feature_masks=4, widest_feature=49, time_masks=2, widest_time=39
    )
    assert (asr.chooses, superb.lrs_of("asr")) == (None, (0.001, 0.0001))
    assert read_protocol("small").of("asr").hidden == 128
