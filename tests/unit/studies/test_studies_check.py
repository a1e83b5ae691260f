"""Checking studies: every problem is told at once, with its line and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from voxstrata.errors import ConfigError
from voxstrata.studies.check import check, checked
from voxstrata.studies.load import Source, read_study

GOOD = """\
name: mine
corpora: {speech: synthetic:tiny}
models: {mel: log-mel, coefficients: {spec: mfcc, roles: [plain]}}
analyses:
  similar:
    job: similarity
    corpus: speech
    folds: 3
"""

NEWCOMER = """\
name: mine
title: What a newcomer writes
corpora:
  speech: synthetic:tiny
models:
  mel: log-mel
  mine: melhubert-smal
analyses:
  properties:
    job: properties
    corpus: speech
    propertys: [linear-phone]
  similar:
    job: similarity
    models: [mel, minne]
    corpus: speech
"""


def _read(tmp_path: Path, text: str) -> Source:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return read_study(str(path))


def test_a_good_study_is_made_ready(tmp_path: Path) -> None:
    found = checked(_read(tmp_path, GOOD), tmp_path / "out")
    assert found.study is not None
    (part,) = found.study.parts
    assert part.folder == tmp_path / "out" / "similar"
    assert list(part.settings.models) == ["log-mel", "mfcc"]  # type: ignore[attr-defined]
    assert part.settings.corpus == "synthetic:tiny"  # type: ignore[attr-defined]
    assert found.study.roles["plain"] == ("mfcc",)
    assert part.job.cost(found.prepared[0]).seconds > 0


def test_three_mistakes_of_a_newcomer_give_three_messages_in_one_go(tmp_path: Path) -> None:
    source = _read(tmp_path, NEWCOMER)
    found = check(source, tmp_path / "out")
    told = [problem.text() for problem in found.problems]
    assert len(told) == 3, told
    key = next(text for text in told if "propertys" in text)
    assert "line 12" in key
    assert "unknown key" in key
    assert "'properties'" in key
    name = next(text for text in told if "minne" in text)
    assert "line 15" in name
    assert "'mine'" in name
    model = next(text for text in told if "melhubert-smal" in text)
    assert "melhubert-small" in model
    with pytest.raises(ConfigError, match="3 problems"):
        checked(source, tmp_path / "out")


def test_labels_that_a_corpus_lacks_are_told_before_anything_runs(
    tmp_path: Path, shared: Path
) -> None:
    text = (
        "corpora: {speech: PLACE}\nmodels: {mel: log-mel}\nanalyses:\n"
        "  p: {job: properties, corpus: speech, properties: [cca-phone, linear-speaker], "
        "scale: small, limit: 20}\n"
    ).replace("PLACE", str(shared / "data" / "fsdd_digits"))
    found = check(_read(tmp_path, text), tmp_path / "out")
    (problem,) = found.problems
    assert "cca-phone" in problem.what
    assert "missing: skip" in problem.fix
    lenient = check(_read(tmp_path, text.replace("job:", "missing: skip, job:")), tmp_path / "out")
    assert not lenient.problems
    assert any("cca-phone" in note for note in lenient.notes)
    # A corpus of the command line need not have all that the study's own has.
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(str(shared / "data" / "fsdd_digits"), "synthetic:tiny"))
    named = read_study(str(path), corpora={"speech": str(shared / "data" / "fsdd_digits")})
    assert not check(named, tmp_path / "out").problems


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("job: similarity", "job: similarities"), "did you mean 'similarity'"),
        (("corpus: speech", "corpus: speach"), "did you mean 'speech'"),
        (("folds: 3", "folds: one"), "folds"),
        (("folds: 3", "models: [mel]\n    study: other"), "a study sets this itself"),
        (("name: mine", "name: mine\nclaims: [phone-dept]"), "unknown claim"),
        (("name: mine", "name: ../mine"), "name"),
        (("name: mine", "name: mine\nseeds: []"), "seeds"),
        (("name: mine", "name: mine\nseeds: [1, 0, 1]"), "seeds named twice: 1"),
        (("name: mine", "name: mine\ncites: [a2024, p2032]"), "or 'p2023'"),
        (("name: mine", "name: mine\nreport: {sections: [matrx]}"), "did you mean 'matrix'"),
        (("similar:", "../similar:"), "rename it"),
        (("similar:", "run.json:"), "a name that no file of the study has"),
        (("folds: 3", "measures: [cka, ckaa]"), "did you mean 'cka'"),
        (("folds: 3", "units: [frmae]"), "did you mean 'frame'"),
        (("corpus: speech", "corpsu: speech"), "did you mean 'corpus'"),
    ],
)
def test_each_mistake_is_told(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    found = check(_read(tmp_path, GOOD.replace(*change)), tmp_path / "out")
    assert len(found.problems) == 1, found.problems
    assert said in found.problems[0].text()


@pytest.mark.parametrize("text", ["", "name: mine\n", "analyses: 3\n", "models: [a]\n"])
def test_a_file_without_the_parts_of_a_study_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="problem"):
        checked(_read(tmp_path, text), tmp_path / "out")


def test_seeds_give_a_folder_each(tmp_path: Path) -> None:
    found = checked(_read(tmp_path, GOOD + "seeds: [0, 3]\n"), tmp_path / "out")
    assert found.study is not None
    assert [part.folder.name for part in found.study.parts] == ["similar", "similar-seed3"]
    assert [part.settings.seed for part in found.study.parts] == [0, 3]  # type: ignore[attr-defined]


NAMES = """\
corpora:
  speech: synthetic:tinny
  tasks:
    default: synthetic:tiny
    pr: {train: synthetic:tny, test: synthetic:tiny, dev: nowhere/at-all}
models: {mel: log-mel}
analyses:
  p:
    job: properties
    corpus: speech
    properties: [linear-fone, varianc-shares]
    fold: 3
  t:
    job: probing
    corpus_map: tasks
    tasks: [sidd, pr, ksq]
    protocol: demoo
    twins: false
  again:
    job: similarity
    corpus: speech
"""


def test_every_name_is_looked_at_and_told_once_with_its_line(tmp_path: Path) -> None:
    found = check(_read(tmp_path, NAMES), tmp_path / "out")
    told = [(one.line, one.where, one.what.partition(":")[0]) for one in found.problems]
    assert sorted(told) == [
        (2, "corpora.speech", "unknown size of the synthetic corpus"),
        (
            5,
            "corpora.tasks.pr.dev",
            "there is no corpus at nowhere/at-all (no such file or folder)",
        ),
        (5, "corpora.tasks.pr.train", "unknown size of the synthetic corpus"),
        (11, "analyses.p.properties", "unknown property"),
        (11, "analyses.p.properties", "unknown property"),
        (12, "analyses.p.fold", "unknown key"),
        (16, "analyses.t.tasks", "unknown task"),
        (16, "analyses.t.tasks", "unknown task"),
        (17, "analyses.t.protocol", "unknown protocol"),
    ]
    assert not (tmp_path / "out").exists()


def test_wrong_names_of_two_analyses_give_a_message_each(tmp_path: Path) -> None:
    text = NAMES.replace("tinny", "tiny").replace("    fold: 3\n", "").replace("pr, ksq", "prr")
    text = text.replace("synthetic:tny", "synthetic:tiny").replace(", dev: nowhere/at-all", "")
    said = [one.text() for one in check(_read(tmp_path, text), tmp_path / "out").problems]
    assert len(said) == 5, said
    for meant in ("linear-phone", "variance-shares", "sid", "pr", "demo"):
        assert any(f"'{meant}'" in one for one in said), meant


def test_names_are_looked_at_where_settings_cannot_be_made(tmp_path: Path) -> None:
    text = (
        "corpora: {speech: synthetic:tiny}\nmodels: {mel: log-mel}\nanalyses:\n"
        "  p: {job: properties, properties: 'linear-fone, linear-speaker'}\n"
    )
    missing, name = check(_read(tmp_path, text), tmp_path / "out").problems
    assert (missing.where, missing.what) == ("analyses.p.corpus", "missing")
    assert name.where == "analyses.p.properties"
    assert "'linear-phone'" in name.fix


def test_a_map_without_some_task_is_told_where_it_stands(tmp_path: Path) -> None:
    text = (
        "corpora:\n  tasks:\n    sid: synthetic:tiny\n    ks: 3\nmodels: {mel: log-mel}\n"
        "analyses:\n  t: {job: probing, corpus_map: tasks, tasks: [sid, gender], protocol: demo}\n"
    )
    (odd,) = check(_read(tmp_path, text), tmp_path / "out").problems
    assert (odd.line, odd.where) == (4, "corpora.tasks.ks")
    text = text.replace("    ks: 3\n", "")
    (without,) = check(_read(tmp_path, text), tmp_path / "out").problems
    assert (without.line, without.where) == (2, "corpora.tasks")
    assert "gender" in without.text()


def test_every_model_that_cannot_be_loaded_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "models").mkdir()
    text = GOOD.replace("mel: log-mel", "mel: log-mel, a: models/melhubert, b: nobody/nothing")
    found = check(_read(tmp_path, text), tmp_path / "out")
    assert [(one.where, one.line) for one in found.problems] == [("models.a", 3), ("models.b", 3)]
    first, second = (one.what for one in found.problems)
    assert first.startswith("there is no folder models/melhubert (")
    assert second.startswith("there is no folder nobody/nothing, and nobody/nothing is not in")


def test_folders_of_two_analyses_are_two(tmp_path: Path) -> None:
    text = GOOD + "  similar-seed3: {job: similarity, corpus: speech, seed: 1}\nseeds: [0, 3]\n"
    (problem,) = check(_read(tmp_path, text), tmp_path / "out").problems
    assert problem.where == "analyses.similar-seed3"


def test_a_contrast_that_cannot_be_made_costs_itself_alone(tmp_path: Path, shared: Path) -> None:
    text = (
        f"corpora: {{speech: {shared}/data/fsdd_digits}}\nmodels: {{m: melhubert-small}}\n"
        "analyses:\n  n: {job: neurons, corpus: speech, twins: false, limit: 12, "
        "contrasts: [clusters=2, gendre], missing: skip}\n"
    )
    found = check(_read(tmp_path, text), tmp_path / "out")
    assert not found.problems
    (note,) = (note for note in found.notes if "gendre" in note)
    assert note.startswith("n: gendre is left out: the corpus")
    (stopped,) = check(
        _read(tmp_path, text.replace(", missing: skip", "")), tmp_path / "out"
    ).problems
    assert "gendre" in stopped.what
    slip = text.replace("gendre", "clusters=two")
    (told,) = check(_read(tmp_path, slip), tmp_path / "out").problems
    assert "clusters=two" in told.what
    alone = text.replace("clusters=2, ", "")
    (told,) = check(_read(tmp_path, alone), tmp_path / "out").problems
    assert "gendre" in told.what


INSIDE = """\
corpora: {speech: "synthetic:tiny"}
models: {m: melhubert-small}
analyses:
  n:
    job: neurons
    corpus: speech
    contrasts: [clusters=two, cluster=3, "ivector=1/clusters=3", "classes/pitch",
                "vectors=2:ecapa-smal/phones", "labels=nowhere.csv/phones", "gender/ivector=2"]
    ivector: ivector-smal
    layers: [ffn99]
  p:
    job: protection
    corpus: speech
    corpus_map: {default: "synthetic:tiny"}
    contrast: clusters
    tasks: [sidd]
    keep: [64, 4096]
    group: nobody
  s:
    job: similarity
    corpus: speech
    layers: [2, nine, ten]
"""


def test_names_that_only_jobs_know_are_told_in_one_go_with_their_lines(tmp_path: Path) -> None:
    found = check(_read(tmp_path, INSIDE), tmp_path / "out")
    told = [(one.line, one.where.removeprefix("analyses."), one.what) for one in found.problems]
    contrasts = [what for line, where, what in told if (line, where) == (7, "n.contrasts")]
    assert len(contrasts) == 7, contrasts
    for text in ("clusters=two", "cluster=3", "ivector=1", "classes/pitch", "ecapa-smal",
                 "labels=nowhere.csv", "gender/ivector=2"):  # fmt: skip
        assert sum(text in what for what in contrasts) == 1, text
    others = {(line, where): what for line, where, what in told if where != "n.contrasts"}
    assert list(others) == [
        (9, "n.ivector"), (10, "n.layers"),
        (15, "p.contrast"), (16, "p.tasks"), (17, "p.keep"),
        (22, "s.layers"),
    ]  # fmt: skip
    assert sum(where == "s.layers" for _, where, _ in told) == 2, "nine and ten"
    assert "4096" in others[17, "p.keep"]


def test_contrasts_that_meet_a_corpus_are_all_told(tmp_path: Path, shared: Path) -> None:
    """What is wrong with the corpus's labels is told contrast by contrast too, each once."""
    text = (
        f"corpora: {{speech: {shared}/data/fsdd_digits}}\nmodels: {{m: melhubert-small}}\n"
        "analyses:\n  n:\n    job: neurons\n    corpus: speech\n    twins: false\n"
        "    contrasts: [ivector=100000, vectors=90000:ecapa-small-supervised, clusters=2:77,\n"
        "                gendre]\n"
    )
    found = check(_read(tmp_path, text), tmp_path / "out")
    assert [(one.line, one.where) for one in found.problems] == [(8, "analyses.n.contrasts")] * 3
    for one, said in zip(found.problems, ("ivector", "vectors", "77"), strict=True):
        assert said in one.what
    # The group is looked up in the contrast.
    text = (
        f"corpora: {{speech: {shared}/data/fsdd_digits}}\nmodels: {{m: melhubert-small}}\n"
        "analyses:\n  p:\n    job: protection\n    corpus: speech\n    contrast: clusters=2\n"
        "    group: cluster 7\n    keep: [100000]\n    tasks: [sid]\n"
        f"    corpus_map: {{default: {shared}/data/fsdd_digits}}\n"
    )
    size, group = check(_read(tmp_path, text), tmp_path / "out").problems
    assert (size.line, size.where) == (9, "analyses.p.keep")
    assert (group.line, group.where) == (8, "analyses.p.group")


def test_tasks_that_protection_cannot_ask_are_left_out_or_told(
    tmp_path: Path, shared: Path
) -> None:
    text = (
        f"corpora: {{speech: {shared}/data/fsdd_digits}}\nmodels: {{m: melhubert-small}}\n"
        "analyses:\n  p: {job: protection, corpus: speech, contrast: clusters=2, keep: [64], "
        "corpus_map: {default: PLACE}, tasks: [sid, pr], protocol: demo, seeds: 1}\n"
    ).replace("PLACE", str(shared / "data" / "fsdd_digits"))
    (problem,) = check(_read(tmp_path, text), tmp_path / "out").problems
    assert problem.what.startswith("pr cannot be done: ")
    lenient = _read(tmp_path, text.replace("{job:", "{missing: skip, job:"))
    found = check(lenient, tmp_path / "out")
    assert not found.problems
    assert [note.partition(":")[0] for note in found.notes] == ["p"]


def test_what_the_command_line_makes_lenient_runs_by_itself(tmp_path: Path, shared: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "corpora: {speech: synthetic:tiny}\nmodels: {mel: log-mel}\nanalyses:\n"
        "  p: {job: properties, corpus: speech, properties: [cca-phone, linear-speaker], "
        "scale: small, limit: 20}\n"
    )
    named = read_study(str(path), corpora={"speech": str(shared / "data" / "fsdd_digits")})
    first = checked(named, tmp_path / "out")
    assert first.study is not None
    assert first.study.config.analyses["p"].missing == "skip"
    written = tmp_path / "study.yaml"
    written.write_text(yaml.safe_dump(first.study.config.model_dump(mode="json")))
    again = checked(read_study(str(written)), tmp_path / "out")
    assert again.notes == first.notes
    assert again.notes
