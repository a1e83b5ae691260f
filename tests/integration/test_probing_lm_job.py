"""Words of recurrent heads read with a language model, in a whole run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import planted
from voxstrata.cli import app, commands
from voxstrata.errors import ConfigError, UsageError
from voxstrata.probing.job import run_probing
from voxstrata.probing.prepare import Prepared, prepare
from voxstrata.probing.settings import ProbeConfig
from voxstrata.report import draw_report

pytest.importorskip("flashlight", reason="the extra 'lm' is not installed")

if not app.registered_commands:
    commands.attach(app)

DEALT = "permuted-labels"

PROTOCOL = """
name: tiny
lrs: [0.02]
seeds: 1
tasks:
  asr: {steps: 150, batch: 6, hidden: 24, every: 50, stride: 640, screen: 20, chooses: cer,
        masks: {warp: 2, feature_masks: 1, widest_feature: 3, time_masks: 1}}
"""


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without speakers, so that intervals draw recordings, of which there are enough."""
    folder = planted.write_corpus(tmp_path_factory.mktemp("planted"), 30, 4)
    manifest = folder / "manifest.jsonl"
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    kept = [{key: line[key] for key in line if key != "speaker"} for line in lines]
    manifest.write_text("\n".join(json.dumps(line) for line in kept))
    return folder


@pytest.fixture
def arpa(tmp_path: Path) -> Path:
    """The four words, all alike, after each other and alone."""
    words = list(planted.WORDS)
    pairs = [(a, b) for a in ["<s>", *words] for b in [*words, "</s>"] if (a, b) != ("<s>", "</s>")]
    lines = [
        "\\data\\",
        f"ngram 1={len(words) + 3}",
        f"ngram 2={len(pairs)}",
        "\n\\1-grams:",
        "-99\t<s>\t0",
        "-0.7\t</s>",
        "-5\t<unk>",
        *(f"-0.7\t{word}\t0" for word in words),
        "\n\\2-grams:",
        *(f"-0.7\t{a} {b}" for a, b in pairs),
        "\n\\end\\\n",
    ]
    file = tmp_path / "words.arpa"
    file.write_text("\n".join(lines))
    return file


def config(recordings: Path, folder: Path, **changes: object) -> ProbeConfig:
    protocol = folder / "tiny.yaml"
    protocol.write_text(PROTOCOL)
    values: dict[str, object] = {
        "models": ("random:melhubert,layers=1,width=16,ffn=32,heads=2,conv_pos=8",),
        "corpus": str(recordings),
        "tasks": ("asr",),
        "protocol": str(protocol),
        "twins": False,
        "ablation": False,
    }
    return ProbeConfig.model_validate(values | changes)


def test_words_of_a_lexicon_are_fewer_errors(recordings: Path, arpa: Path, tmp_path: Path) -> None:
    settings = config(recordings, tmp_path, lm=str(arpa))
    table = run_probing(settings, tmp_path / "out").table
    screened = table["estimator"] == "screen"
    assert screened.any()
    assert "wer-lm" not in set(table[screened]["measure"])
    cells = ["model", "layer", "control"]
    held = {
        measure: table[~screened & (table["measure"] == measure)].set_index(cells)
        for measure in ("wer", "wer-lm")
    }
    # the sum, the layer that was chosen, the sum's control; cepstra and their control
    assert len(held["wer-lm"]) == 5
    assert list(held["wer"].index) == list(held["wer-lm"].index)
    for measure in held.values():
        assert ((measure["ci_low"] <= measure["value"]) & measure["ci_high"].notna()).all()
    own = held["wer"].index.get_level_values("control") == ""
    assert (held["wer-lm"]["value"] <= held["wer"]["value"])[own].all()
    cepstra = ("mfcc", "mfcc", "")
    # Cepstra tell tones apart: what is read letter by letter is often no word, what is sought is.
    assert held["wer-lm"]["value"][cepstra] < held["wer"]["value"][cepstra]
    assert held["wer-lm"]["value"][cepstra] < held["wer-lm"]["value"]["mfcc", "mfcc", DEALT]
    draw_report(tmp_path / "out")


def test_the_numbers_depend_on_the_files(recordings: Path, arpa: Path, tmp_path: Path) -> None:
    def planned(**changes: object) -> Prepared:
        return prepare(config(recordings, tmp_path, **changes), tmp_path / "out")

    first = planned(lm=str(arpa))
    assert first.identity == planned(lm=str(arpa)).identity
    assert not any("lexicon" in notice for notice in first.notices)
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text("one O N E\ntwo T W O\n")
    fewer = planned(lm={"file": str(arpa), "lexicon": str(lexicon)})
    assert any("2 of 4 different test words" in notice for notice in fewer.notices)
    lexicon.write_text("one O N E\ntwo T W O\nfour F O U R\n")
    more = planned(lm={"file": str(arpa), "lexicon": str(lexicon)})
    arpa.write_text(arpa.read_text().replace("-5\t<unk>", "-6\t<unk>"))
    other = planned(lm=str(arpa))
    without = planned()
    assert without.reader is None
    assert len({p.identity for p in (first, fewer, more, other, without)}) == 5


def test_what_cannot_be_read_is_refused_before_work(
    recordings: Path, arpa: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no task of this run writes words"):
        prepare(config(recordings, tmp_path, lm=str(arpa), tasks=("sid", "pr")), tmp_path / "out")
    arpa.write_text("\\data\\ and no more")
    with pytest.raises(ConfigError, match="KenLM reads"):
        run_probing(config(recordings, tmp_path, lm=str(arpa)), tmp_path / "out")
    assert not (tmp_path / "out" / "state").exists()


def test_flags(recordings: Path, arpa: Path, tmp_path: Path) -> None:
    call = ["probe", "mfcc", "-c", str(recordings), "-t", "asr", "--dry-run",
            "-o", str(tmp_path / "out")]  # fmt: skip
    done = CliRunner().invoke(app, [*call, "--lm", str(arpa)])
    assert done.exit_code == 0, done.output
    assert "4 words" in done.output
    alone = CliRunner().invoke(app, [*call, "--lexicon", str(arpa)])
    assert isinstance(alone.exception, UsageError)
