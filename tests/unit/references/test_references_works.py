"""The bibliography, and which of it a results folder rests on."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from voxstrata import studies
from voxstrata.corpora.registry import CORPORA
from voxstrata.errors import ResultsError, StorageError, UnknownNameError, UsageError
from voxstrata.models.family import FAMILIES
from voxstrata.models.huggingface import architectures
from voxstrata.references.bibliography import Work, bibliography, bibtex, names, tex, text, work
from voxstrata.references.explanation import explanations, kinds
from voxstrata.references.used import cited, keys_called, works_used
from voxstrata.registry import Registry
from voxstrata.results import RECORD, TABLE, Row, write_results
from voxstrata.studies.load import shipped
from voxstrata.training.registry import OBJECTIVES
from voxstrata.verification.backend import BACKENDS

ENTRY = re.compile(r"@(\w+)\{(\w+),\n((?:  \w+ = \{.*\},?\n)+)\}")


def _row(asked: str, measure: str) -> Row:
    return Row(
        "s", "m", "1", "", "", asked, measure, "frame", 0.5, None, None, 9, 3, 4, 4, "held-out", 0
    )


def _run(folder: Path, job: str, numbers: list[tuple[str, str]], **record: Any) -> Path:
    write_results(folder, [_row(*number) for number in numbers], {"job": job, **record})
    return folder


# The bibliography.


@pytest.mark.parametrize("key", sorted(bibliography()))
def test_an_entry_is_well_formed_bibtex(key: str) -> None:
    held = work(key)
    entry = bibtex(key, held)
    assert entry.isascii()
    assert entry.count("{") == entry.count("}")
    found = ENTRY.fullmatch(entry)
    assert found is not None, entry
    kind, named, body = found.groups()
    assert named == key
    fields = dict(re.findall(r"  (\w+) = \{(.*?)\},?\n", body))
    assert fields["title"].startswith("{")
    assert fields["author"]
    wanted = {"article": "journal", "inproceedings": "booktitle", "book": "publisher"}
    assert wanted.get(kind, "title") in fields
    year = re.search(r"(1[89]|20)\d\d", key)
    assert year is None or int(year.group()) == held.year or held.year is None
    assert not held.arxiv or re.fullmatch(r"\d{4}\.\d{4,5}", held.arxiv)
    # A preprint is never later than the work.
    assert not held.arxiv or not held.year or 2000 + int(held.arxiv[:2]) <= held.year


def test_no_number_of_a_preprint_is_there_twice() -> None:
    numbers = [held.arxiv for held in bibliography().values() if held.arxiv]
    assert len(set(numbers)) == len(numbers)


def test_preprints_are_those_of_the_design(shared: Path) -> None:
    said = (shared / "DESIGN.md").read_text()
    for key, title in (
        ("ashihara2024", "What do self-supervised speech and speaker models learn?"),
        ("pasad2023", "Comparative layer-wise analysis of self-supervised speech models"),
        ("lin2025", "Identifying speaker information in feed-forward layers"),
        ("lin2024", "Property neurons"),
    ):
        held = work(key)
        assert held.title.startswith(title)
        part = said[said.index(title) :]
        assert held.arxiv in part[:260], key
    assert {"2107.04734", "2307.00162"} == {work(k).arxiv for k in ("pasad2021", "pasad2024")}


@pytest.mark.parametrize(
    ("plain", "wanted"),
    [
        ("Björck, Åke", 'Bj{\\"{o}}rck, {\\r{A}}ke'),
        ("Żelasko & Jérôme", "{\\.{Z}}elasko \\& J{\\'{e}}r{\\^{o}}me"),
        ("a_1 50% #$", "a\\_1 50\\% \\#\\$"),
        ("Łukasz – ß", "{\\L}ukasz -- {\\ss}"),
    ],
)
def test_tex(plain: str, wanted: str) -> None:
    assert tex(plain) == wanted


def test_tex_refuses_what_it_cannot_write() -> None:
    with pytest.raises(UsageError, match="東"):
        tex("東京")


def test_text() -> None:
    assert names("Lai, Cheng-I Jeff and van der Leeden, Rien and others") == (
        "C.-I. J. Lai, R. van der Leeden and others"
    )
    held = Work(
        type="article",
        author="{A Group}",
        title="T",
        journal="J",
        volume="2",
        number="3",
        pages="4-5",
        year=2001,
        arxiv="0001.0001",
    )
    assert text(held) == "A Group. T. J 2(3), 4-5, 2001. arXiv:0001.0001"


def test_an_unknown_work_is_told() -> None:
    with pytest.raises(UnknownNameError, match="'pasad2023'"):
        work("pasad2022")


# What is cited for what.


def test_every_key_is_of_the_bibliography_and_every_work_is_cited() -> None:
    tables = [t for t in cited().model_dump().values() if isinstance(t, dict)]
    keys = {key for table in tables for held in table.values() for key in held}
    keys |= set(cited().normalised)
    keys |= {key for k in kinds() for about in explanations(k).values() for key in about.cite}
    assert keys <= set(bibliography())
    assert set(bibliography()) - keys == {"voxstrata"}


def own(registry: Registry[Any]) -> set[str]:
    """Names that come with the package, without those that other tests have put there."""
    return {e.name for e in registry.entries() if e.target.startswith("voxstrata.")}


def test_all_corpora_families_types_and_objectives_have_an_entry() -> None:
    tables = cited()
    assert set(tables.corpora) == own(CORPORA)
    assert all(tables.corpora.values())
    assert {*tables.families, "huggingface"} == own(FAMILIES)
    assert set(tables.types) == {row.model_type for row in architectures.table().values()}
    assert set(tables.objectives) == own(OBJECTIVES)
    assert set(tables.backends) == own(BACKENDS)
    assert set(tables.learners) <= set(tables.jobs)


def test_settings_of_a_verification(tmp_path: Path) -> None:
    config = {"backend": ["plda"], "as_norm": "vox2", "lm": None, "rankings": False}
    _run(tmp_path, "verify", [("verification", "eer-interpolated")], config=config)
    reasons = works_used(tmp_path).reasons
    assert reasons["prince2007"] == ["the backend plda"]
    assert reasons["matejka2017"] == ["normalisation of scores"]
    assert not {"hatch2006", "heafield2011", "dalvi2019"} & set(reasons)


def test_works_that_shipped_studies_name_are_known() -> None:
    folder = Path(studies.__file__).parent / "shipped"
    for name in shipped():
        cites = yaml.safe_load((folder / f"{name}.yaml").read_text())["cites"]
        assert cites, name
        assert all(keys_called(one) for one in cites), name


def test_a_run_cites_what_it_used(tmp_path: Path) -> None:
    models = [
        {"spec": "xls-r-300m", "family": "huggingface", "details": {"model_type": "wav2vec2"}},
        {
            "spec": "ecapa-small-dino",
            "family": "ecapa",
            "details": {"objective": "dino", "trained_on": ["synthetic,seed=1"]},
        },
    ]
    corpus = {"spec": "librispeech:/x,part=dev-clean", "details": {"corpus": "librispeech"}}
    _run(
        tmp_path,
        "properties",
        [("cca-phone", "pwcca"), ("linear:emotion", "selectivity"), ("cca-model:x", "svcca")],
        models=models,
        corpus=corpus,
    )
    used = works_used(tmp_path)
    assert set(used.reasons) == {
        "voxstrata",
        *("pasad2023", "rubin1987"),  # the job
        *("morcos2018", "nadeau2003"),  # cca-phone and pwcca
        *("hoerl1970", "hewitt2019", "xu2020"),  # linear
        *("hotelling1936", "raghu2017"),  # svcca
        *("baevski2020", "babu2022", "desplanques2020", "caron2021"),
        *("panayotov2015", "espeakng"),
        *("paszke2019", "wolf2020", "zelasko2021", "harris2020", "virtanen2020"),
        "pedregosa2011",
    }
    assert used.reasons["panayotov2015"] == ["the corpus librispeech"]
    assert "the property linear" in used.reasons["hewitt2019"]
    assert used.unknown == []


def test_measures_of_similarity_are_not_scores(tmp_path: Path) -> None:
    _run(tmp_path, "similarity", [("similarity", "cka"), ("similarity", "rsa")])
    reasons = works_used(tmp_path).reasons
    assert reasons["song2012"] == ["the measure cka"]
    assert reasons["kriegeskorte2008"] == ["the measure rsa"]
    assert "wolf2020" not in reasons, "no model of transformers was used"
    assert "nguyen2021" not in reasons


def test_the_minibatch_estimate_has_a_work_of_its_own(tmp_path: Path) -> None:
    rows = [replace(_row("similarity", "cka"), estimator="minibatch")]
    write_results(tmp_path, rows, {"job": "similarity"})
    assert works_used(tmp_path).reasons["nguyen2021"] == ["the minibatch estimate"]


def test_tasks_and_joined_corpora(tmp_path: Path) -> None:
    corpora = {
        "timit:/t": {"corpus": "timit"},
        "/mine": {"source": "folder"},
        "mixtures,seed=1:fluent:/f": {"source": "mixtures"},
    }
    _run(
        tmp_path,
        "probing",
        [("asv", "eer"), ("asv", "min-dcf"), ("qbe", "mtwv")],
        corpus={"spec": " + ".join(corpora), "details": {"corpora": corpora}},
    )
    used = works_used(tmp_path)
    assert {
        "snyder2018",
        "wang2018",
        "anguera2014",
        "fiscus2007",
        "garofolo1993",
        "lugosch2019",
    } <= (set(used.reasons))
    assert used.unknown == ["the corpus /mine"]


def test_a_folder_of_several_and_an_unfinished_one(tmp_path: Path) -> None:
    _run(tmp_path / "a", "similarity", [("similarity", "cka")])
    _run(tmp_path / "b" / "deeper", "neurons", [("gender", "count")], config={"rankings": True})
    _run(tmp_path / "c", "similarity", [("similarity", "mutual-knn")])
    (tmp_path / "c" / RECORD).unlink()
    (tmp_path / "loop").symlink_to(tmp_path)
    _run(
        tmp_path,
        "study",
        [("similarity", "procrustes")],
        study="mine",
        cites=["a2024", "hsu2021", "nobody1900"],
    )
    used = works_used(tmp_path)
    assert used.reasons["ashihara2024"] == ["the study mine"]
    assert used.reasons["hsu2021"] == ["the study mine"]
    assert {"song2012", "ding2021", "lin2024", "dalvi2019"} <= set(used.reasons)
    assert "huh2024" not in used.reasons
    assert used.unfinished == [tmp_path / "c"]
    assert used.unknown == ["what the study calls nobody1900"]


# What is damaged or hostile.


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="holds no finished results"):
        works_used(tmp_path)
    with pytest.raises(ResultsError, match="there is no folder"):
        works_used(tmp_path / "not\nthere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ResultsError, match="there is no folder"):
        works_used(tmp_path / "file")


def test_damaged_folders(tmp_path: Path) -> None:
    _run(tmp_path / "a", "similarity", [("similarity", "cka")])
    _run(tmp_path / "b", "similarity", [("similarity", "cka")])
    (tmp_path / "b" / TABLE).unlink()
    with pytest.raises(ResultsError, match="b is damaged"):
        works_used(tmp_path)
    (tmp_path / "b" / TABLE).write_bytes(b"PAR1 nonsense")
    with pytest.raises(ResultsError, match="is damaged"):
        works_used(tmp_path)
    _run(tmp_path / "b", "similarity", [("similarity", "cka")])
    (tmp_path / "b" / RECORD).write_text("{")
    with pytest.raises(StorageError):
        works_used(tmp_path)
    (tmp_path / "b" / RECORD).write_text("[1]")
    with pytest.raises((ResultsError, StorageError), match=r"run\.json"):
        works_used(tmp_path)


@pytest.mark.parametrize(
    "record",
    [
        {"models": "x", "corpus": [], "config": 3, "cites": "all", "versions": []},
        {"models": [None, {"details": 3}], "corpus": {"spec": None, "details": [1, {"a": {}}]}},
        {"models": [{"spec": {}, "details": {"trained_on": {"a": 1}}}], "job": ["x"]},
        {"corpus": {"details": {"corpora": {"": None}}}, "config": {"objective": "x"}},
    ],
)
def test_records_of_odd_shapes_are_read_as_far_as_they_go(record: Any, tmp_path: Path) -> None:
    _run(tmp_path, "similarity", [("similarity", "cka")])
    whole = {**json.loads((tmp_path / RECORD).read_text()), **record}
    (tmp_path / RECORD).write_text(json.dumps(whole))
    assert "song2012" in works_used(tmp_path).reasons
