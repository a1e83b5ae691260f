"""Class tasks: examples, splits, and what is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxstrata.errors import ConfigError, LabelError, UnknownNameError, UsageError
from voxstrata.probing.registry import TASKS, get_task, get_tasks
from voxstrata.probing.sources import Material, TaskSource, read_map
from voxstrata.probing.task import TaskData
from voxstrata.types import Utterance


def people(count: int = 6, each: int = 5, **tiers: Any) -> tuple[Utterance, ...]:
    """Recordings of speakers who are F or M in turn."""
    return tuple(
        Utterance(
            f"s{s}-{i}",
            1.0,
            {"speaker": f"s{s}", "gender": "FM"[s % 2], "keyword": "ab"[i % 2], "n": i, **tiers},
        )
        for s in range(count)
        for i in range(each)
    )


def whole(utterances: tuple[Utterance, ...]) -> Material:
    return Material(TaskSource(corpus="x"), {"all": utterances})


def speakers(data: TaskData, part: str) -> set[str]:
    return set(data.rounds[0].parts[part].groups)


def test_test_speakers_are_held_out() -> None:
    data = get_task("gender").data(whole(people(10)), 0)
    parts = [speakers(data, part) for part in ("train", "dev", "test")]
    assert not parts[0] & parts[2]
    assert not parts[0] & parts[1]
    assert not parts[1] & parts[2]
    assert set.union(*parts) == {f"s{i}" for i in range(10)}
    train = data.rounds[0].parts["train"]
    wanted = [["F", "M"].index("FM"[int(i.split("-")[0][1:]) % 2]) for i in train.ids]
    assert data.classes == {"gender": ("F", "M")}
    np.testing.assert_array_equal(train.targets[:, 0], wanted)


def test_speakers_as_classes_are_in_every_part() -> None:
    data = get_task("sid").data(whole(people()), 0)
    assert speakers(data, "train") == speakers(data, "dev") == speakers(data, "test")
    ids = [set(p.ids) for p in data.rounds[0].parts.values()]
    assert sum(map(len, ids)) == len(set.union(*ids)) == 30


def test_splits_follow_the_seed_and_not_the_order() -> None:
    task = get_task("gender")
    one = task.data(whole(people(10)), 0).rounds[0].parts["test"]
    again = task.data(whole(tuple(reversed(people(10)))), 0).rounds[0].parts["test"]
    other = task.data(whole(people(10)), 1).rounds[0].parts["test"]
    assert set(one.ids) == set(again.ids) != set(other.ids)


def test_the_corpus_own_parts_come_first() -> None:
    named = tuple(
        Utterance(u.id, 1.0, {**u.tiers, "split": ["train", "valid", "test"][i % 3]})
        for i, u in enumerate(people())
    )
    data = get_task("ks").data(whole(named), 0)
    assert len(data.rounds[0].parts["dev"]) == 10
    assert "own" in data.notes[0]


def test_folds_are_tested_once_each() -> None:
    held = {f"fold{i + 1}": people()[i::3] for i in range(3)}
    source = TaskSource(folds=("a", "b", "c"))
    data = get_task("gender").data(Material(source, held), 0)
    assert [r.name for r in data.rounds] == ["fold1", "fold2", "fold3"]
    tested = [i for r in data.rounds for i in r.parts["test"].ids]
    assert sorted(tested) == sorted(u.id for u in people())
    for r in data.rounds:
        ids = [set(p.ids) for p in r.parts.values()]
        assert sum(map(len, ids)) == len(set.union(*ids)) == 30


def test_a_class_only_in_test_is_left_out_and_counted() -> None:
    def part(name: str) -> tuple[Utterance, ...]:
        return tuple(Utterance(name + u.id, 1.0, u.tiers) for u in people(4))

    odd = (Utterance(f"odd{i}", 1.0, {"gender": "X"}) for i in range(4))
    held = {"train": part("a"), "dev": part("b"), "test": (*part("c"), *odd)}
    source = TaskSource(train="a", dev="b", test="c")
    data = get_task("gender").data(Material(source, held), 0)
    assert data.dropped["class of test that is not in training"] == 4
    assert "odd0" not in data.rounds[0].parts["test"].ids


def test_parts_that_share_recordings_or_speakers() -> None:
    source = TaskSource(train="a", test="b")
    with pytest.raises(UsageError, match="both train and test"):
        get_task("gender").data(Material(source, {"train": people(6), "test": people(6)}), 0)
    others = tuple(Utterance("t" + u.id, 1.0, u.tiers) for u in people(6))
    data = get_task("gender").data(Material(source, {"train": people(8), "test": others}), 0)
    (note,) = [n for n in data.notes if "test speakers" in n]
    assert note.endswith("of 6 test speakers are in training too.")


def test_own_parts_without_dev_are_kept_and_dev_is_split_off() -> None:
    held = tuple(
        Utterance(u.id, 1.0, {**u.tiers, "split": "test" if u.id[1] in "67" else "train"})
        for u in people(8)
    )
    data = get_task("gender").data(Material(TaskSource(corpus="x"), {"all": held}), 0)
    parts = data.rounds[0].parts
    assert {i[:2] for i in parts["test"].ids} == {"s6", "s7"}
    assert not {i[:2] for i in parts["train"].ids} & {i[:2] for i in parts["dev"].ids}
    bare = tuple(Utterance(u.id, 1.0, {**u.tiers, "split": "train"}) for u in people(8))
    data = get_task("gender").data(Material(TaskSource(corpus="x"), {"all": bare}), 0)
    assert any("are not used: only train has" in note for note in data.notes)


def test_speakers_that_are_not_known_are_not_claimed_to_be_apart() -> None:
    held = tuple(Utterance(f"{i}", 1.0, {"gender": "FM"[i % 2]}) for i in range(20))
    data = get_task("gender").data(Material(TaskSource(corpus="x"), {"all": held}), 0)
    assert any("speakers are not known" in note for note in data.notes)


def test_what_a_task_is_belongs_to_the_identity(tmp_path: Path) -> None:
    from voxstrata.probing.registry import described, digests

    path = tmp_path / "mine.yaml"
    seen = []
    for measures in ("[accuracy]", "[balanced-accuracy]"):
        path.write_text(
            f"name: m\ntitle: M\nsummary: m\ntargets: {{g: gender}}\nmeasures: {measures}"
        )
        seen.append((described(get_task(str(path))), digests([str(path), "sid"])))
    assert seen[0][0] != seen[1][0]
    assert seen[0][1] != seen[1][1]
    assert list(seen[0][1]) == [str(path)]
    path.write_text("name: ../../evil\ntitle: M\nsummary: m\ntargets: {g: gender}")
    with pytest.raises(ConfigError, match="odd name"):
        get_tasks((str(path),))


def test_dev_is_split_off_training_where_the_map_has_none() -> None:
    held = {"train": people(8), "test": tuple(
        Utterance("t" + u.id, 1.0, u.tiers) for u in people(4))}  # fmt: skip
    data = get_task("ks").data(Material(TaskSource(train="a", test="b"), held), 0)
    parts = data.rounds[0].parts
    assert len(parts["train"]) + len(parts["dev"]) == 40
    assert all(i.startswith("t") for i in parts["test"].ids)


def test_every_slot_is_a_group_and_absence_a_class() -> None:
    said = (
        {"drink": "tea", "size": "big"}, {"drink": "milk"}, {"drink": "tea"}, {"drink": "milk"},
    )  # fmt: skip
    utterances = tuple(Utterance(f"u{i}", 1.0, {"slots": said[i % 4]}) for i in range(40))
    data = get_task("slots").data(whole(utterances), 0)
    assert data.classes == {"drink": ("milk", "tea"), "size": ("(none)", "big")}


def test_a_task_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "half.yaml"
    file.write_text(
        "name: half\ntitle: Half\nsummary: early or late\ntargets: {n: n}\nbins: {n: [2]}\n"
        "speakers: apart\nkeep: {gender: F}\n"
    )
    data = get_task(str(file)).data(whole(people(12)), 0)
    assert data.classes == {"n": ("2 or more", "under 2")}
    assert data.dropped == {"gender is another than F": 30}


def test_what_is_missing_is_said() -> None:
    with pytest.raises(LabelError, match="needs a tier") as error:
        get_task("er").data(whole(people()), 0)
    assert "emotion, or rate" in str(error.value)
    with pytest.raises(UsageError, match="no recording is left"):
        get_task("sid").data(whole(people(5, 2)), 0)
    with pytest.raises(UsageError, match="too few speakers"):
        get_task("ks").data(whole(people(2)), 0)
    one = tuple(u for u in people() if u.tiers["gender"] == "F")
    with pytest.raises(UsageError, match="fewer than two classes"):
        get_task("gender").data(whole(one), 0)
    with pytest.raises(UnknownNameError, match="sid"):
        get_task("sidd")


def test_maps(tmp_path: Path) -> None:
    file = tmp_path / "map.yaml"
    file.write_text("default: a\nsid: {train: b, test: c}\n")
    found = read_map(file, ["sid", "ks"])
    assert found["sid"].specs == {"train": "b", "test": "c"}
    assert found["ks"].specs == {"all": "a"}
    file.write_text("sid: {train: b}\n")
    with pytest.raises(ConfigError, match="sid"):
        read_map(file, ["sid"])
    file.write_text("sid: a\n")
    with pytest.raises(ConfigError, match="says nothing") as error:
        read_map(file, ["sid", "ks"])
    assert "ks" in str(error.value)
    file.write_text("sid: 3\n")
    with pytest.raises(ConfigError, match="neither"):
        read_map(file, ["sid"])


def test_all_shipped_tasks_open() -> None:
    assert [task.name for task in get_tasks(("all",))] == TASKS.names()
    assert {task.name for task in get_tasks(("superb",))} <= set(TASKS.names())


def test_a_python_file_is_a_task_too(tmp_path: Path) -> None:
    """The example of the docs."""
    docs = Path(__file__).parents[3] / "docs" / "probing.md"
    code = docs.read_text().split("```python\n")[1].split("```")[0]
    (tmp_path / "long.py").write_text(code)
    task = get_task(str(tmp_path / "long.py"))
    said = tuple(Utterance(f"{i}", 1.0 + 2 * (i % 2), {"speaker": f"s{i % 6}"}) for i in range(24))
    data = task.data(Material(TaskSource(corpus="x"), {"all": said}), 0)
    assert data.classes == {"long": ("no", "yes")}
    (tmp_path / "bad.py").write_text("TASK = 3")
    with pytest.raises(ConfigError, match="holds no task"):
        get_task(str(tmp_path / "bad.py"))
    with pytest.raises(ConfigError, match="is not there"):
        get_task(str(tmp_path / "none.py"))
