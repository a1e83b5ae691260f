"""Contrasts from text: what is asked, of which labels; what is malformed is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from neurons_labelled import corpus, frames
from voxstrata.errors import ConfigError, LabelError, UnknownNameError, UsageError, VoxstrataError
from voxstrata.neurons.conditions.condition import Crossed, Labels
from voxstrata.neurons.conditions.files import FileFrames
from voxstrata.neurons.conditions.parse import (
    Sources,
    frame_conditions,
    learners,
    make_contrast,
)
from voxstrata.neurons.conditions.states import PITCH_LAYERS, StateClusters


def sources(**rest: Any) -> Sources:
    asked: list[Any] = []

    def vectors(text: str, place: str, groups: int, seed: int = 0) -> Labels:
        asked.append((text, place, groups))
        names = tuple(f"cluster {i + 1}" for i in range(groups))
        return Labels(text, names, {f"r{i}": i % groups for i in range(4)})

    made = Sources(corpus(), lambda place: f"m/{place or 'middle'}", vectors, **rest)  # type: ignore[arg-type]
    made.asked = asked  # type: ignore[attr-defined]
    return made


def test_groups_of_recordings_alone_and_within_rows() -> None:
    alone = make_contrast("gender", sources())
    assert alone.groups == ("F", "M")
    assert alone.rows.name == "all"
    assert alone.labels is not None
    assert alone.group_of is None
    within = make_contrast("gender/phones", sources())
    assert within.rows.rows == ("AA", "B", "L", "S")
    assert within.name == "gender/phones"
    assert make_contrast("speaker/clusters=5", sources()).rows.layers == ("m/middle",)


def test_clusters_name_their_layer() -> None:
    made = make_contrast("clusters=4:7", sources(seed=3)).rows
    assert isinstance(made, StateClusters)
    assert (made.clusters, made.layers, made.seed) == (4, ("m/7",), 3)
    assert make_contrast("clusters=4", sources()).group_of == (0, 1, 2, 3)


def test_vectors_get_model_and_number() -> None:
    place = sources()
    made = make_contrast("ivector=2/clusters=3", place)
    assert made.labels is not None
    assert made.groups == ("cluster 1", "cluster 2")
    make_contrast("vectors=3:ecapa-small-supervised/phones", place)
    make_contrast("vectors=2:random:melhubert,layers=2@1", place)
    assert place.asked == [  # type: ignore[attr-defined]
        ("ivector=2", "", 2),
        ("vectors=3:ecapa-small-supervised", "ecapa-small-supervised", 3),
        ("vectors=2:random:melhubert,layers=2@1", "random:melhubert,layers=2@1", 2),
    ]


def test_classes_are_groups_of_phones() -> None:
    for text in ("classes", "classes/phones"):
        made = make_contrast(text, sources())
        assert made.groups == ("vowels", "voiced consonants", "unvoiced consonants")
        assert made.group_of == (0, 1, 1, 2)  # AA B L S
        assert made.rows.name == "phones"
    semi = make_contrast("classes", sources(semivowels=True))
    assert semi.groups[1] == "semivowels"
    assert semi.group_of == (0, 2, 1, 3)
    with pytest.raises(ConfigError, match="classes are groups of phones"):
        make_contrast("classes/pitch", sources())


def test_frames_as_groups_hold_the_other_rows_fixed() -> None:
    made = make_contrast("pitch/phones", sources())
    assert isinstance(made.rows, Crossed)
    assert made.rows.layers == PITCH_LAYERS
    assert made.groups == ("low", "middle", "high")
    assert made.group_of == (0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2)
    assert made.held == (0, 1, 2, 3) * 3
    length = make_contrast("duration/phones", sources())
    assert len(length.groups) == 3
    assert length.rows.name == "duration/phones"


def test_frames_taken_reach_every_span() -> None:
    counts = {}
    for take in ("all", "middle", "published"):
        made = make_contrast("duration/phones", sources(take=take)).rows
        found = made.codes("r0", *frames(17), [])
        counts[take] = int((found >= 0).sum())
        phones = make_contrast("phones", sources(take=take)).rows
        assert ((phones.codes("r0", *frames(17), []) >= 0) == (found >= 0)).all()
    assert counts == {"all": 11, "middle": 3, "published": 3}


def test_a_condition_is_made_once_and_counted_once() -> None:
    place = sources()
    made = [
        make_contrast(text, place)
        for text in ("clusters=3", "gender/clusters=3", "speaker/clusters=3", "gender", "speaker",
                     "gender/phones", "classes/phones", "clusters=3/phones", "clusters=3:2")
    ]  # fmt: skip
    assert [one.name for one in frame_conditions(made)] == [
        "clusters=3", "all", "phones", "clusters=3/phones", "clusters=3:2",
    ]  # fmt: skip
    assert [part.name for part in learners(frame_conditions(made))] == [
        "clusters=3",
        "clusters=3:2",
    ]


def write_files(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "t.csv").write_text("utterance,a,b\nr0,x,1\nr1,y,2\nr2,x,1\nr3,y,2\n")
    names = "\n".join(["/", *(f"r{i}.wav\t1" for i in range(4))])
    for stem, lines in (("f", "0 1\n1 1\n0 0\n1 0\n"), ("g", "0\n1\n0\n1\n")):
        (folder / f"{stem}.tsv").write_text(names)
        (folder / f"{stem}.km").write_text(lines)
    return folder


@pytest.mark.parametrize("inside", ["phones", "deep/phones/clusters"])
def test_slashes_of_paths_are_no_cuts(tmp_path: Path, inside: str) -> None:
    """Even where a folder of the path is called like a condition."""
    folder = write_files(tmp_path / inside)
    for text, groups, rows in (
        (f"labels={folder}/t.csv:a", ("x", "y"), "all"),
        (f"labels={folder}/t.csv:b/phones", ("1", "2"), "phones"),
        (f"km={folder}/g.km", ("cluster 0", "cluster 1"), "all"),
        (f"km={folder}/g.km/clusters=3", ("cluster 0", "cluster 1"), "clusters=3"),
        (f"km={folder}/g.km/clusters=3:5", ("cluster 0", "cluster 1"), "clusters=3:5"),
        (f"km={folder}/g.km/km={folder}/f.km", ("cluster 0", "cluster 1"), "km=f.km"),
        (f"labels={folder}/t.csv:a/km={folder}/f.km", ("x", "y"), "km=f.km"),
        (f"gender/km={folder}/f.km", ("F", "M"), "km=f.km"),
        (f"km={folder}/f.km", ("cluster 0", "cluster 1"), "km=f.km"),
    ):
        made = make_contrast(text, sources())
        assert made.groups == groups, text
        assert made.rows.name == rows, text
        assert isinstance(made.rows, FileFrames) == (rows == "km=f.km")


def test_folders_of_models_are_no_cuts(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "phones" / "model"
    folder.mkdir(parents=True)
    for tail, place, rows in (
        (f"{folder}", f"{folder}", "all"),
        (f"{folder}@embedding", f"{folder}@embedding", "all"),
        (f"{folder}/phones", f"{folder}", "phones"),
        ("owner/model", "owner/model", "all"),
        ("owner/model/clusters=3", "owner/model", "clusters=3"),
    ):
        asked = sources()
        made = make_contrast(f"vectors=2:{tail}", asked)
        assert asked.asked == [(f"vectors=2:{place}", place, 2)]  # type: ignore[attr-defined]
        assert made.rows.name == rows


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", LabelError, "nothing called ''"),
        ("gendr", LabelError, "nothing called 'gendr'"),
        ("gender/phonse", LabelError, "nothing called 'phonse'"),
        ("gender/", LabelError, "nothing called"),
        ("/phones", LabelError, "nothing called"),
        ("accent/phones", LabelError, "nothing called 'accent'"),
        ("words", LabelError, "nothing called 'words'"),
        ("gender/speaker", ConfigError, "labels of recordings as rows"),
        ("clusters=3/gender", ConfigError, "labels of recordings behind the slash"),
        ("clusters", ConfigError, "no number of clusters"),
        ("clusters=", ConfigError, "no number of clusters"),
        ("clusters=0", ConfigError, "no number of clusters"),
        ("clusters=three", ConfigError, "no number of clusters"),
        ("clusters=-3", ConfigError, "no number of clusters"),
        ("ivector", ConfigError, "no number of clusters"),
        ("gender=2", ConfigError, "is not known"),
        ("kmeans=3/phones", ConfigError, "is not known"),
        ("km=", UsageError, "names no file"),
        ("km=no/where.km/phones", UsageError, r"there is no file no/where\.tsv"),
        ("labels=no/where.csv/phones", UsageError, r"no/where\.csv"),
        ("clusters=900/clusters=3:2", UsageError, "too many rows"),
    ],
)
def test_typos_are_told(text: str, error: type[VoxstrataError], words: str) -> None:
    with pytest.raises(error, match=words) as told:
        make_contrast(text, sources())
    assert told.value.expected or told.value.fix or told.value.got


def test_an_unknown_name_lists_tiers_and_conditions() -> None:
    with pytest.raises(LabelError) as error:
        make_contrast("gendr/phones", sources())
    assert "gender" in str(error.value.got)
    assert "clusters=K" in str(error.value.expected)
    with pytest.raises(ConfigError) as swapped:
        make_contrast("phones/gender", sources())
    assert swapped.value.fix == "--contrast gender/phones"


def test_a_wrong_layer_is_told_as_the_model_tells_it() -> None:
    def refuse(place: str) -> str:
        raise UnknownNameError("no such layer", got=place)

    made = Sources(corpus(), refuse, lambda *_: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(UnknownNameError, match="no such layer"):
        make_contrast("gender/clusters=3:77", made)
