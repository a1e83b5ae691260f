"""Lists, tables, word vectors, language models and neuron sets that users hand in."""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fuzzing.target import Target, dumped, lines


def _trials(path: Path) -> None:
    from voxstrata.verification.trials import match_trials, read_trials

    found = read_trials(path)
    match_trials(found, list(found.ids)[:2])
    found.summary()


def _pairs(path: Path) -> object:
    from voxstrata.properties.tasks.pair_similarity import read_scored_pairs

    return read_scored_pairs(path)


def _vectors(path: Path) -> object:
    from voxstrata.properties.views.word_vectors import read_word_vectors

    return read_word_vectors(path, ["the", "a", "Hello"])


def _word2vec() -> bytes:
    return b"2 3\n" + b"the " + struct.pack("<3f", 1, 2, 3) + b"\na " + struct.pack("<3f", 4, 5, 6)


def _values(path: Path) -> object:
    from voxstrata.properties.views.tables import read_values

    return read_values(path)


def _parquet(values: dict[str, Any]) -> bytes:
    import pandas as pd

    held = io.BytesIO()
    pd.DataFrame(values).to_parquet(held, index=False)
    return held.getvalue()


def _attributes(path: Path) -> object:
    from voxstrata.properties.views import attributes

    return attributes.read_attributes(path, ["the", "cat"])


def _km(path: Path) -> object:
    from voxstrata.neurons.conditions.files import read_km

    corpus: Any = _Corpus([SimpleNamespace(id="a"), SimpleNamespace(id="b")])
    return read_km(path, corpus)


class _Corpus:
    """As much of a corpus as label files need."""

    name = "c"

    def __init__(self, utterances: Sequence[Any]) -> None:
        self.utterances = utterances

    def __len__(self) -> int:
        return len(self.utterances)


def _km_beside(folder: Path) -> None:
    (folder / "x.tsv").write_text("/root\na.wav\t100\nb.wav\t200\n")


def _lexicon(path: Path) -> object:
    from voxstrata.probing.lm import read_lexicon

    return read_lexicon(path)


def _arpa(path: Path) -> object:
    from voxstrata.probing.lm import _is_binary, read_unigrams

    return _is_binary(path), read_unigrams(path)


ARPA = b"\\data\\\nngram 1=2\n\n\\1-grams:\n-1.0\tTHE\t-0.5\n-2.0\t<s>\n\n\\end\\\n"


def _neuron_set(path: Path) -> object:
    from voxstrata.neurons.sets import load_set

    return load_set(path)


NEURONS = {
    "format": 1, "name": "n", "model": "m", "fingerprint": "f", "widths": {"a": 4, "b": 4},
    "layers": {"a": [0, 2]}, "groups": {"F": {"a": [0]}}, "details": {}, "order": ["a", "b"],
}  # fmt: skip


def _scores(path: Path) -> object:
    from voxstrata.properties.choosing import check

    return check.read_scores(path)


TARGETS: tuple[Target, ...] = (
    Target(
        "trials",
        "t.txt",
        _trials,
        lines(
            "1 a/1.wav b/2.wav\n0 a c\n", "a b target\na c nontarget\n", "label,enrol,test\n1,a,b\n"
        ),
    ),
    Target("scored-pairs", "p.txt", _pairs, lines("a b 1.5\nc d 2\n", "x\ty\tscore\na\tb\t1\tg\n")),
    Target(
        "word-vectors",
        "v.txt",
        _vectors,
        lambda: [
            b"the 1 2 3\na 4 5 6\n",
            b"2 3\nthe 1 2 3\na 4 5 6\n",
            _word2vec(),
            gzip.compress(b"the 1 2 3\n", mtime=0),
        ],
    ),
    Target("value-table-csv", "v.csv", _values, lines("utterance,x,y\na,1,p\nb,2,q\n")),
    Target(
        "value-table-parquet",
        "v.parquet",
        _values,
        lambda: [_parquet({"utterance": ["a", "b"], "x": [1.0, 2.0], "v": [[1.0], [2.0]]})],
    ),
    Target(
        "attributes", "v.txt", _attributes, lines('the {"a": 1.0, "b": 2}\n', "cat\t{'a': 1}\n")
    ),
    Target("kmeans-labels", "x.km", _km, lines("1 2 2\n0 1\n", "1\n2\n"), _km_beside),
    Target("lexicon", "l.txt", _lexicon, lines("THE T H E |\nA A\n")),
    Target("arpa", "l.arpa", _arpa, lambda: [ARPA, gzip.compress(ARPA, mtime=0)]),
    Target("neuron-set", "n.json", _neuron_set, lambda: dumped(NEURONS), json=True),
    Target("outside-scores", "s.csv", _scores, lines("model,layer,score,task\nm,1,0.5,t\n")),
)
