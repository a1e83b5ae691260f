"""From a published tree, through a recipe, to a corpus that analyses can use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from voxstrata.corpora import load_corpus
from voxstrata.corpora.registry import CORPORA
from voxstrata.types import Segment


def test_every_recipe_says_what_it_is() -> None:
    for name in CORPORA.names():
        recipe = CORPORA.get(name)
        assert recipe.name == name
        for words in (recipe.title, recipe.licence, recipe.homepage, recipe.summary):
            assert words
        assert len(set(recipe.parts)) == len(recipe.parts) > 0
        assert recipe.tiers
        assert set(getattr(recipe, "on_request", ())) < set(recipe.parts)


def write(path: Path, seconds: float, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(0, 0.1, round(seconds * 16_000))
    sf.write(str(path), noise, 16_000)


@pytest.fixture
def timit(tmp_path: Path) -> Path:
    for n, (part, speaker) in enumerate([("TRAIN", "FCJF0"), ("TEST", "FAKS0"), ("TEST", "MDAB0")]):
        folder = tmp_path / "TIMIT" / part / "DR1" / speaker
        write(folder / "SA1.WAV", 0.5, n)
        (folder / "SA1.TXT").write_text("0 8000 She had.\n")
        (folder / "SA1.WRD").write_text("0 4000 she\n4000 8000 had\n")
        (folder / "SA1.PHN").write_text("0 2000 sh\n2000 4000 iy\n4000 8000 hv\n")
    return tmp_path / "TIMIT"


def test_prepared_corpus_opens_whole_and_by_part(timit: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    CORPORA.get("timit").prepare(timit, out)
    whole = load_corpus(f"timit:{out}", on_error="stop")
    assert len(whole) == 3
    dev = load_corpus(str(out / "dev"), on_error="stop", check="decode")
    (utterance,) = list(dev)
    assert utterance.id == "FAKS0-SA1"
    assert utterance.segments("words") == (Segment(0, 0.25, "she"), Segment(0.25, 0.5, "had"))
    assert utterance.read().shape == (8000,)


def test_prepare_from_the_command_line(timit: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from voxstrata.cli.corpora import app

    ran = CliRunner().invoke(app, ["prepare", "timit", str(timit), str(tmp_path / "out")])
    assert ran.exit_code == 0, ran.output
    assert (tmp_path / "out" / "train" / "cuts.jsonl.gz").exists()


def test_meeting_windows_pass_the_checks(tmp_path: Path) -> None:
    from voxstrata.corpora.recipes._common import Job, Row

    write(tmp_path / "m.wav", 3.0, 0)
    recipe = CORPORA.get("ami")
    job = Job(recipe, tmp_path, tmp_path / "out", None, None)
    turns = [Segment(0.0, 0.6, "A"), Segment(0.4, 1.0, "B")]
    rows = [
        Row(f"w{n}", tmp_path / "m.wav", {"turns": t, "meeting": "m"}, float(n), 1.0)
        for n, t in enumerate([turns, turns[:1], []])
    ]
    assert job.write("mix-train", rows) == 3
    assert job.finish("").problems == ()
    corpus = load_corpus(str(tmp_path / "out" / "mix-train"), on_error="stop", check="decode")
    assert [u.segments("turns") for u in corpus] == [tuple(turns), tuple(turns[:1]), ()]
    assert all(u.tiers["meeting"] == "m" for u in corpus)
