"""Any text given as a model or a corpus is understood or refused in the family's words.

Nothing is downloaded, computed or written on the way: that begins when a spec is understood.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from typed import mutants, refusal
from voxstrata.config import build
from voxstrata.corpora.load import find_source, load_corpus
from voxstrata.corpora.mixtures.config import MixturesConfig
from voxstrata.corpora.mixtures.config import parse as parse_mixtures
from voxstrata.corpora.synthetic.config import PRESETS, SyntheticConfig
from voxstrata.corpora.synthetic.voices import ACCENTS
from voxstrata.errors import ConfigError, CorpusError, ModelError, UsageError, VoxstrataError
from voxstrata.models.load import describe, find_family, load_model
from voxstrata.models.spec import format_spec, parse

MODELS = [
    "hubert-base", "random:wavlm-large@12", "wav2vec2-base,normalize=true,layer0=cnn",
    "owner/name@main@7", "random:hubert-base,layers=3,seed=1", "melhubert-small", "log-mel,mels=40",
    "random:ecapa-512@mfa", "acoustic,floor_hz=60", "folder/model.safetensors", "~/model", "./here",
]  # fmt: skip
CORPORA = [
    "synthetic", "synthetic:tiny", "synthetic:small,seed=3,accents=en-us+en-gb", "folder",
    "mixtures:synthetic:demo", "mixtures,count=120,overlap=0.3:folder", "librispeech:folder/part",
    "voxceleb1:folder", "synthetic:tiny + folder", "folder/manifest.jsonl", "~/speech",
    "./cuts.jsonl.gz",
]  # fmt: skip
LONG = "x" * 300 + ".jsonl"
NO_FILE = ["~\0", "~nobody-is-called-so/x", "~\ud800", "x" * 300, "/" + "x" * 300, "x/" * 3000]
"""Texts of which the system says no by an error instead of by an answer."""


@pytest.fixture(autouse=True, scope="module")
def _alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder with a few files in it; no network; nothing may be written there."""
    root, home = (tmp_path_factory.mktemp(name) for name in ("typed", "home"))
    (root / "folder").mkdir()
    (root / "folder" / "model.safetensors").write_bytes(b"damaged")
    (root / "folder" / "manifest.jsonl").write_text("{}\n", encoding="utf-8")

    def refuse(*_: Any) -> None:
        raise AssertionError("a text alone must not reach for the network")

    before = sorted(root.rglob("*"))
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(root)
        patched.setenv("HOME", str(home))  # lhotse makes a folder there when it is imported
        patched.setenv("HF_HOME", str(root / "hub"))
        patched.setenv("VOXSTRATA_CACHE", str(root / "cache"))
        patched.setattr(socket.socket, "connect", refuse)
        patched.setattr(socket, "getaddrinfo", refuse)
        yield
    assert sorted(root.rglob("*")) == before


typed_model = st.one_of(st.text(max_size=30), mutants(MODELS))
typed_corpus = st.one_of(st.text(max_size=30), mutants(CORPORA))


in_time = settings(deadline=20_000)
"""Milliseconds: a text is no work, but the first one that is understood imports much."""


def _examples(*texts: str) -> Any:
    """Several ``@example`` in one line each would be a page of them."""

    def add(test: Any) -> Any:
        for text in texts:
            test = example(text)(test)
        return test

    return add


# -- models ----------------------------------------------------------------------------------------


@in_time
@given(typed_model)
@_examples(*NO_FILE, *(f"random:{text}" for text in NO_FILE), "@" * 60, ",a=" * 60)
@_examples(
    "a--b/c", "a..b/c", "a/b.", "a-/b", "a/b.git", "a/" + "b" * 97, "a" * 97 + "/b", "aé/b"
)  # no hub ids
@_examples("random:hubert-base,layers=99999999999", "hubert-base,config=~nobody-is-called-so")
def test_any_text_is_a_model_or_is_refused(text: str) -> None:
    try:
        spec = parse(text)
    except Exception as error:
        refusal(error)
        return
    pieces = (spec.base, spec.random, spec.revision, spec.cut, dict(spec.options))
    again = parse(format_spec(*pieces))
    assert (again.base, again.random, again.revision, again.cut, dict(again.options)) == pieces
    try:
        family = find_family(spec)
        if family.name == "huggingface":  # the one that tells its layers without weights
            layers, facts = describe(text)
            assert layers
            assert facts["family"] == family.name
    except Exception as error:
        refusal(error)


@pytest.mark.parametrize(
    "base",
    ["random:hubert-base,layers=1", "random:melhubert,layers=1", "random:melhubert-small",
     "random:ecapa-512", "random:ecapa-small-dino"],
)  # fmt: skip
@in_time
@given(seed=st.one_of(st.integers(max_value=-1), st.integers(min_value=2**63)))
@example(seed=10**22)  # more than torch takes
def test_seeds_that_no_generator_takes_are_refused(base: str, seed: int) -> None:
    with pytest.raises(ConfigError, match="seed") as caught:
        load_model(f"{base},seed={seed}")
    refusal(caught.value)


@pytest.mark.parametrize("text", ["mfcc,mels=3,coefficients=9", "random:melhubert,heads=0",
                                  "random:melhubert,layers=99999999",
                                  "random:ecapa,channels=99999999",
                                  "random:melhubert-small,seed=1.5",
                                  "random:melhubert,stats=nowhere.npy"])  # fmt: skip
def test_options_at_odds_are_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_model(text)
    refusal(caught.value)


# -- corpora ---------------------------------------------------------------------------------------


def _understood(text: str) -> None:
    """Everything of a corpus but its audio: the source, its options, what lies inside."""
    source = find_source(text)
    if source.name == "synthetic":
        SyntheticConfig.parse(text)
    elif source.name == "mixtures":
        _understood(parse_mixtures(text)[1])
    elif source.name in ("prepared", "jsonl"):
        load_corpus(text)


@in_time
@given(typed_corpus)
@_examples(*NO_FILE, *(f"librispeech:{text}" for text in NO_FILE))
@_examples("", "librispeech:", "mixtures:", "synthetic:", "synthetic,", "nobody:x", LONG)
def test_any_text_is_a_corpus_or_is_refused(text: str) -> None:
    try:
        _understood(text)
    except Exception as error:
        refusal(error)


@in_time
@given(st.lists(typed_corpus, min_size=2, max_size=4))
@example(["x"] * 400)  # longer than a path may be
@example(["nowhere", ""])
def test_joined_ones_are_refused_where_the_first_is(texts: list[str]) -> None:
    text = " + ".join(texts)
    first = text.split(" + ")[0].strip()
    try:
        find_source(first)
    except VoxstrataError as error:
        alone = error
    else:
        assume(False)
    with pytest.raises(type(alone)) as caught:
        load_corpus(text)
    assert str(caught.value) == str(alone)


@in_time
@given(st.integers(1, 3000))
@example(2500)  # deeper than Python calls
def test_mixtures_of_mixtures_are_refused(depth: int) -> None:
    with pytest.raises(UsageError, match="not made of mixtures") as caught:
        load_corpus("mixtures:" * depth + "mixtures:folder")
    refusal(caught.value)


def test_an_empty_text_is_not_the_current_folder() -> None:
    for text in ("", "folder + "):
        with pytest.raises(VoxstrataError) as caught:
            load_corpus(text)
        refusal(caught.value)
    with pytest.raises(UsageError, match="no corpus is named"):
        find_source("")


@given(
    st.sampled_from([None, *PRESETS]),
    st.fixed_dictionaries(
        {},
        optional={
            "seed": st.integers(0, 2**31 - 1),
            "speakers": st.integers(1, 5000),
            "readings": st.integers(1, 100),
            "channels": st.integers(1, 100),
            "accents": st.lists(st.sampled_from(sorted(ACCENTS)), min_size=1, max_size=3),
        },
    ),
)
def test_options_of_the_synthetic_corpus_are_read_as_written(
    size: str | None, options: dict[str, Any]
) -> None:
    written = {k: "+".join(v) if isinstance(v, list) else str(v) for k, v in options.items()}
    text = "synthetic" + (f":{size}" if size else "")
    text += "".join(f",{key}={value}" for key, value in written.items())
    assert find_source(text).name == "synthetic"
    assert SyntheticConfig.parse(text) == SyntheticConfig.preset(size or "demo", **options)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "count": st.integers(5, 100_000),
            "seed": st.integers(0, 2**31 - 1),
            "turns": st.integers(2, 50),
            "overlap": st.floats(0, 0.3),
            "level": st.floats(0, 20),
            "longest": st.floats(1, 30),
        },
    ),
    st.sampled_from(["synthetic:tiny,seed=1", "folder", "a:b,c=d"]),
)
def test_options_of_mixtures_are_read_as_written(options: dict[str, Any], corpus: str) -> None:
    text = "mixtures" + "".join(f",{key}={value!r}" for key, value in options.items())
    assert parse_mixtures(f"{text}:{corpus}") == (build(MixturesConfig, options), corpus)


def test_what_may_not_be_looked_at_is_told_apart_from_what_is_not_there() -> None:
    with pytest.raises(CorpusError) as corpus:
        load_corpus("/" + "x" * 300)
    with pytest.raises(ModelError) as model:
        load_model("/" + "x" * 300)
    assert corpus.value.got == model.value.got == os.strerror(36)
    assert Path("folder").is_dir()
    with pytest.raises(CorpusError) as missing:
        load_corpus("./folders")
    assert missing.value.got == "no such file or folder"
    assert missing.value.fix.startswith("did you mean")
