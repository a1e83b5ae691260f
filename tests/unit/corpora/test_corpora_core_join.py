"""Several corpora as one."""

from __future__ import annotations

from pathlib import Path

import pytest

import planted
from voxstrata.corpora import load_corpus
from voxstrata.errors import CorpusError


def test_joined_in_order_with_tiers_and_fingerprint(tmp_path: Path) -> None:
    one = planted.write_corpus(tmp_path / "one", recordings=3)
    two = planted.write_corpus(tmp_path / "two", recordings=2)
    text = (two / "manifest.jsonl").read_text()
    (two / "manifest.jsonl").write_text(text.replace('"id": "r', '"id": "q'))
    joined = load_corpus(f"{one} + {two}")
    assert [u.id for u in joined.utterances] == ["r00", "r01", "r02", "q00", "q01"]
    assert joined.tiers()["phones"] == 5
    assert joined.name == "one+two"
    assert joined.fingerprint != load_corpus(one).fingerprint
    assert joined.seconds == pytest.approx(load_corpus(one).seconds + load_corpus(two).seconds)


def test_an_id_in_both_is_refused(tmp_path: Path) -> None:
    one = planted.write_corpus(tmp_path / "one", recordings=2)
    two = planted.write_corpus(tmp_path / "two", recordings=2)
    with pytest.raises(CorpusError, match="r00"):
        load_corpus(f"{one} + {two}")


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    one = planted.write_corpus(tmp_path / "one", recordings=2)
    with pytest.raises(CorpusError, match="nowhere"):
        load_corpus(f"{one} + {tmp_path}/nowhere")
