"""Query by example through the whole job: cut-out words of planted speech, and the corpus made for
it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

import planted
from voxstrata.corpora.registry import CORPORA
from voxstrata.probing.job import PROBES, WEIGHTS, run_probing
from voxstrata.probing.settings import ProbeConfig
from voxstrata.report.page import page_html
from voxstrata.report.view import read_view

MODEL = "random:melhubert,layers=2,width=16,ffn=32,heads=2,conv_pos=8"
TASK = """
name: tones
title: Tones
summary: where a word of tones occurs
finds: [cut]
shortest_s: 0.2
least_queries: 4
p_target: 0.005
"""


def test_words_of_tones_are_found(tmp_path: Path) -> None:
    recordings = planted.write_corpus(tmp_path / "planted", 32, 8, words=2)
    file = tmp_path / "tones.yaml"
    file.write_text(TASK)
    settings = ProbeConfig(
        models=(MODEL,), corpus=str(recordings), tasks=(str(file), "gender"), steps=10, seeds=1,
        lrs=(0.01,), twins=False,
    )  # fmt: skip
    out = tmp_path / "out"
    result = run_probing(settings, out)
    mine = result.table[result.table["property"] == "tones"]
    assert set(mine["measure"]) == {"mtwv", "map", "mtwv-over-other-model"}
    values = mine[(mine["measure"] == "mtwv") & (mine["control"] == "")].set_index(
        ["model", "layer"]
    )
    assert list(values.loc[MODEL].index) == ["0", "1", "2"]
    dealt = mine[(mine["measure"] == "mtwv") & (mine["control"] != "")].set_index(
        ["model", "layer"]
    )
    # Words are pairs of tones: cepstra tell them apart, documents dealt anew do not.
    assert values["value"]["mfcc", "mfcc"] > 0.5 > dealt["value"]["mfcc", "mfcc"]
    assert (values["groups"] == 2).all()
    probes = pd.read_parquet(out / PROBES)
    mine = probes[(probes["task"] == "tones") & (probes["model"] == MODEL)]
    own = mine[mine["control"] == ""].set_index("layer")["dev"]
    assert result.record["best"][f"tones {MODEL}"] == own.idxmax()
    assert set(pd.read_parquet(out / WEIGHTS)["task"]) == {"gender"}
    (about,) = (p for p in result.record["properties"] if p["name"] == "tones")
    assert any("beta 1.99" in note for note in about["notices"])
    assert about["sizes"][0]["train"] == 0
    assert about["sizes"][0]["dev"] > 0
    html = page_html(read_view(result))
    assert "Tones" in html
    assert "No speaker has queries and documents" in html


def noise(path: Path, frames: np.ndarray, rng: np.random.Generator) -> None:
    """A band of noise for every 20 ms."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(320) / 16_000
    parts = [np.sin(2 * np.pi * hertz * time + rng.uniform(0, 6)) for hertz in frames]
    wave = 0.2 * np.concatenate(parts)
    soundfile.write(path, (wave + 0.01 * rng.standard_normal(len(wave))).astype(np.float32), 16_000)


@pytest.fixture
def quesst(tmp_path: Path) -> Path:
    """Three terms, each in two of nine documents, asked for in both parts."""
    rng = np.random.default_rng(0)
    root, keys = tmp_path / "quesst14Database", {"docs": [], "dev": [], "eval": []}
    terms = [rng.uniform(200, 7000, 20) for _ in range(3)]
    for n in range(9):
        around = [rng.uniform(200, 7000, 20), rng.uniform(200, 7000, 15)]
        if n < 6:
            around.insert(1, terms[n % 3])
        noise(root / "Audio" / f"quesst14_{n:05d}.wav", np.concatenate(around), rng)
        keys["docs"].append(f"quesst14Database/Audio/quesst14_{n:05d}.wav nnenglish")
    for part in ("dev", "eval"):
        lines = []
        for q, term in enumerate(terms):
            name = f"quesst14_{part}_{q:04d}"
            noise(root / f"{part}_queries" / f"{name}.wav", term, rng)
            keys[part].append(f"quesst14Database/{part}_queries/{name}.wav nnenglish")
            lines += [f"LEXEME quesst14_{d:05d} 1 0.4 0.4 {name} lex x 0.5" for d in (q, q + 3)]
        folder = root / "scoring" / f"groundtruth_quesst14_{part}"
        folder.mkdir(parents=True)
        (folder / f"quesst14_{part}.rttm").write_text("\n".join(lines))
    for name, part in (("utterances", "docs"), ("dev", "dev"), ("eval", "eval")):
        (root / "scoring" / f"language_key_{name}.lst").write_text("\n".join(keys[part]))
    return root


def test_the_published_corpus_by_its_own_parts(quesst: Path, tmp_path: Path) -> None:
    prepared = tmp_path / "Q"
    CORPORA.get("quesst14").prepare(quesst, prepared)
    corpora = tmp_path / "corpora.yaml"
    corpora.write_text(
        f"qbe: {{dev: 'quesst14:{prepared}/dev + quesst14:{prepared}/docs', "
        f"test: 'quesst14:{prepared}/eval + quesst14:{prepared}/docs'}}\n"
    )
    settings = ProbeConfig(
        models=("log-mel",), corpus_map=str(corpora), tasks=("qbe",), baseline="", protocol="superb"
    )
    result = run_probing(settings, tmp_path / "out")
    table = result.table[result.table["control"] == ""].set_index("measure")
    assert table["value"].to_dict() == {"mtwv": 1.0, "map": 1.0}
    assert (table["n"] == 3).all()
    assert result.record["corpus"]["utterances"] == 9 + 3 + 3
    (about,) = result.record["properties"]
    assert any("the corpus's own" in note for note in about["notices"])
    assert any("test: 3 queries in 9 documents" in note for note in about["notices"])
