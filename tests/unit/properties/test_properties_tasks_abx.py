"""ABX: warping, cells and their averages, choice of items, the properties."""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import pytest
import torch

from voxstrata.errors import ShapeError, UsageError
from voxstrata.properties.property import PERMUTED, TooFewError
from voxstrata.properties.sample import Sample, sample_of
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.properties.tasks import dtw
from voxstrata.properties.tasks.abx import Items, abx, choose_items
from voxstrata.properties.tasks.abx_property import abx_phone, abx_phone_mean, tokens_of
from voxstrata.properties.tasks.dtw import dtw_distances, warp
from voxstrata.streaming.stack import StackLayer
from voxstrata.types import FrameGrid, LayerInfo, Segment, Utterance

LAYER = StackLayer(0, "m", LayerInfo("1", 6, "frame", FrameGrid(320, 400)))


def settings(**given: object) -> PropertiesConfig:
    return PropertiesConfig(models=("m",), corpus="c", **given)  # type: ignore[arg-type]


def plain_warp(d: np.ndarray) -> float:
    """The textbook table and a walk back along it."""
    n, m = d.shape
    cost = np.full((n + 1, m + 1), np.inf)
    cost[0, 0] = 0
    for i, j in itertools.product(range(n), range(m)):
        cost[i + 1, j + 1] = d[i, j] + min(cost[i, j], cost[i, j + 1], cost[i + 1, j])
    i, j, steps = n, m, 1
    while (i, j) != (1, 1):
        options = [(cost[i - 1, j - 1], i - 1, j - 1), (cost[i, j - 1], i, j - 1)]
        options.append((cost[i - 1, j], i - 1, j))
        _, i, j = min(options, key=lambda o: o[0])  # the first of equals: diagonal, left, up
        steps += 1
    return float(cost[n, m] / steps)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (6, 1), (4, 7), (9, 3), (8, 8)])
def test_warp(shape: tuple[int, int]) -> None:
    d = np.random.default_rng(0).random((20, *shape))
    assert warp(d) == pytest.approx([plain_warp(x) for x in d], abs=1e-12)
    ties = np.random.default_rng(1).integers(0, 3, (50, *shape)).astype(float)
    assert warp(ties) == pytest.approx([plain_warp(x) for x in ties], abs=1e-12)


def test_warp_of_a_sequence_stretched_is_nothing() -> None:
    x = np.array([0.0, 3.0, 1.0])
    y = np.repeat(x, [2, 1, 3])
    assert warp(np.abs(x[:, None] - y)[None])[0] == 0
    with pytest.raises(ShapeError):
        warp(np.zeros((3, 0, 2)))


@pytest.mark.parametrize("metric", ["angular", "cosine", "euclidean"])
@pytest.mark.parametrize("frames", [5, 4096])
def test_distances_of_items(
    metric: dtw.Metric, frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dtw, "_FRAMES", frames)
    monkeypatch.setattr(dtw, "_FEW_FRAMES", frames)
    monkeypatch.setattr(dtw, "_CELLS", 30)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 5))
    starts, lengths = np.array([0, 10, 7, 40, 55, 20]), np.array([3, 5, 3, 1, 4, 8])
    pairs = np.array(list(itertools.combinations(range(6), 2)))[::-1]
    got = dtw_distances(torch.from_numpy(x).float(), starts, lengths, pairs, metric=metric)
    x = x.astype(np.float32).astype(np.float64)
    for (a, b), value in zip(pairs, got, strict=True):
        p, q = x[starts[a] : starts[a] + lengths[a]], x[starts[b] : starts[b] + lengths[b]]
        cos = (p @ q.T) / np.linalg.norm(p, axis=1)[:, None] / np.linalg.norm(q, axis=1)
        table = {
            "angular": np.arccos(cos) / np.pi,
            "cosine": 1 - cos,
            "euclidean": np.linalg.norm(p[:, None] - q, axis=2),
        }[metric]
        assert value == pytest.approx(plain_warp(table), abs=1e-7)


def test_distances_refuse_nonsense() -> None:
    x, one = torch.ones(4, 2), np.array([1])
    with pytest.raises(UsageError, match="at least one frame"):
        dtw_distances(x, one, np.array([0]), np.array([[0, 0]]))
    with pytest.raises(UsageError, match="unknown distance"):
        dtw_distances(x, one, one, np.array([[0, 0]]), metric="manhattan")  # type: ignore[arg-type]
    assert len(dtw_distances(x, one, one, np.empty((0, 2), dtype=np.int64))) == 0


def some_items(n: int, seed: int, contexts: int = 2) -> Items:
    rng = np.random.default_rng(seed)
    return Items(rng.integers(0, 4, n), rng.integers(0, contexts, n), rng.integers(0, 3, n))


def brute(d: np.ndarray, items: Items, across: bool) -> tuple[float, int]:
    """Every triple by itself, then the three means."""
    cells = defaultdict(list)
    p, c, s = items.phone, items.context, items.speaker
    n = len(p)
    for a, b, x in itertools.product(range(n), repeat=3):
        alike = c[a] == c[b] == c[x] and s[a] == s[b] and p[a] == p[x] != p[b]
        if not alike or (s[x] == s[a]) == across or x == a:
            continue
        point = 1.0 if d[a, x] < d[b, x] else (0.5 if d[a, x] == d[b, x] else 0.0)
        cells[s[a], p[a], p[b], c[a], s[x]].append(point)
    triples = sum(map(len, cells.values()))
    by_speaker, by_pair = defaultdict(list), defaultdict(list)
    for (speaker, pa, pb, _, _), points in cells.items():
        by_speaker[speaker, pa, pb].append(np.mean(points))
    for (_, pa, pb), values in by_speaker.items():
        by_pair[pa, pb].append(np.mean(values))
    return float(np.mean([np.mean(v) for v in by_pair.values()])), triples


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("ties", [False, True])
def test_abx_against_every_triple(across: bool, ties: bool) -> None:
    items = some_items(40, 0)
    rng = np.random.default_rng(1)
    d = rng.integers(0, 4, (40, 40)).astype(float) if ties else rng.random((40, 40))
    d = d + d.T
    found = abx(d, items, across=across)
    expected, triples = brute(d, items, across)
    assert found.accuracy == pytest.approx(expected, abs=1e-12)
    assert found.triples == triples


def test_abx_without_cells_is_not_a_number() -> None:
    one = np.zeros(3, dtype=np.int64)
    lone = Items(np.array([0, 1, 2]), one, one)
    assert np.isnan(abx(np.zeros((3, 3)), lone, across=False).accuracy)
    assert abx(np.zeros((3, 3)), lone, across=True).error(np.random.default_rng(0)) == (None, 0)
    with pytest.raises(ShapeError):
        abx(np.zeros((2, 2)), lone, across=False)
    with pytest.raises(ShapeError):
        Items(one, one[:2], one)


def test_error_over_speakers_covers_the_spread() -> None:
    """Speakers differ in how well they are told apart; the error must say so."""
    values, errors = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        speaker = np.repeat(np.arange(20), 12)
        phone = np.tile(np.arange(3), 80)
        sharp = rng.uniform(0, 2, 20)[speaker]
        x = rng.standard_normal((240, 2)) + sharp[:, None] * np.eye(3)[phone][:, :2]
        items = Items(phone, np.zeros(240, dtype=np.int64), speaker)
        d = np.linalg.norm(x[:, None] - x, axis=2)
        found = abx(d, items, across=False)
        error, groups = found.error(np.random.default_rng(0))
        values.append(found.accuracy)
        errors.append(error)
        assert groups == 20
    assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=0.35)


def test_permuted_items_keep_their_cells() -> None:
    items = some_items(60, 3)
    d = np.random.default_rng(0).random((60, 60))
    mixed = items.permuted(np.random.default_rng(5))
    assert (mixed.phone != items.phone).any()
    for across in (False, True):
        a, b = abx(d, items, across=across), abx(d, mixed, across=across)
        assert (len(a.cells), a.triples) == (len(b.cells), b.triples)


def test_choice_of_items_keeps_cells_whole() -> None:
    rng = np.random.default_rng(0)
    items = Items(rng.integers(0, 3, 3000), rng.integers(0, 200, 3000), rng.integers(0, 5, 3000))
    chosen = choose_items(items, 300, 2, np.random.default_rng(1))
    assert 250 < len(chosen) <= 300
    kept = items.take(chosen)
    sizes = np.unique(
        np.stack([kept.phone, kept.context, kept.speaker]), axis=1, return_counts=True
    )[1]
    assert sizes.max() == 2
    # Of a chosen context all (capped) tokens are there.
    for context in np.unique(kept.context):
        whole = items.take(items.context == context)
        table = np.zeros((3, 5))
        np.add.at(table, (whole.phone, whole.speaker), 1)
        assert (kept.context == context).sum() == np.minimum(table, 2).sum()


def test_choice_of_items_in_any_context_takes_whole_speakers() -> None:
    rng = np.random.default_rng(0)
    items = Items(
        rng.integers(0, 20, 8000), np.zeros(8000, dtype=np.int64), rng.integers(0, 40, 8000)
    )
    chosen = choose_items(items, 500, 10, rng)
    kept = items.take(chosen)
    speakers = np.unique(kept.speaker)
    assert len(chosen) <= 500
    assert 8 <= len(speakers) <= 13
    assert all(len(np.unique(kept.phone[kept.speaker == s])) >= 19 for s in speakers)


def phones_corpus(
    speakers: int = 6, phones: int = 60, seed: int = 0, width: int = 6
) -> tuple[dict[str, Utterance], Sample, Sample]:
    """Recordings of random phones from four kinds; frames hold phone, speaker and noise."""
    rng = np.random.default_rng(seed)
    kinds = ["AA1", "B", "K", "IY0"]
    code = {k: 2 * rng.standard_normal(width) for k in kinds}
    utterances, frames, names, folds, starts = {}, [], [], [], []
    spans: dict[str, list] = {"values": [], "names": [], "s": [], "e": [], "labels": [], "f": []}
    for s in range(speakers):
        name, voice = f"u{s}", rng.standard_normal(width)
        times = 0.02 * np.cumsum(rng.integers(2, 6, phones + 1))
        tier = [
            Segment(float(a), float(b), str(rng.choice(kinds)))
            for a, b in itertools.pairwise(times)
        ]
        tier.insert(0, Segment(0.0, float(times[0]), "SIL"))
        utterances[name] = Utterance(name, float(times[-1]), {"speaker": name, "phones": tier})
        count = round(times[-1] / 0.02)
        centre = 0.02 * np.arange(count) + 0.01
        x = 0.3 * rng.standard_normal((count, width)) + voice
        for span in tier[1:]:
            x[(centre >= span.start_s) & (centre < span.end_s)] += code[span.label]
        for span in tier[1:]:
            here = (centre >= span.start_s) & (centre < span.end_s)
            spans["values"].append(x[here].mean(axis=0))
            for key, value in zip(
                ("names", "s", "e", "labels", "f"),
                (name, span.start_s, span.end_s, span.label, s),
                strict=True,
            ):
                spans[key].append(value)
        frames.append(x)
        names += [name] * count
        folds += [s] * count
        starts += list(centre - 0.01)
    sequence = sample_of(
        [np.concatenate(frames)],
        layers=[LAYER],
        utterances=utterances,
        utterance=names,
        fold=folds,
        start_s=starts,
        end_s=[t + 0.02 for t in starts],
        unit="sequence",
    )
    means = sample_of(
        [np.stack(spans["values"])],
        layers=[LAYER],
        utterances=utterances,
        utterance=spans["names"],
        fold=spans["f"],
        labels=spans["labels"],
        start_s=spans["s"],
        end_s=spans["e"],
        unit="phone",
    )
    return utterances, sequence, means


def test_tokens_are_the_frames_whose_centre_lies_in_the_phone() -> None:
    utterances, sequence, means = phones_corpus()
    tokens = tokens_of(sequence)
    assert tokens.lost == 0
    assert len(tokens.phone) == 360
    assert set(tokens.phone) == {"AA", "B", "K", "IY"}
    tier = utterances["u0"].segments("phones")
    assert tokens.context[0] == ("SIL", tokens.phone[1])
    assert tokens.context[59] == (tokens.phone[58], "SIL")
    for i in (0, 7, 59):
        rows = tokens.order[tokens.first[i] : tokens.first[i] + tokens.frames[i]]
        centre = (sequence.start_s[rows] + sequence.end_s[rows]) / 2
        span = tier[i + 1]
        assert ((centre >= span.start_s) & (centre < span.end_s)).all()
        assert tokens.frames[i] == round((span.end_s - span.start_s) / 0.02)
    single = tokens_of(means)
    assert (single.phone, single.context) == (tokens.phone, tokens.context)
    assert (single.frames == 1).all()


def test_tokens_do_not_depend_on_the_order_of_rows() -> None:
    utterances, sequence, _ = phones_corpus(speakers=2)
    mixed = np.random.default_rng(0).permutation(len(sequence))
    other = sample_of(
        [sequence.read(0)[mixed]],
        layers=[LAYER],
        utterances=utterances,
        utterance=sequence.utterance[mixed],
        fold=sequence.fold[mixed],
        start_s=sequence.start_s[mixed],
        end_s=sequence.end_s[mixed],
        unit="sequence",
    )
    a, b = tokens_of(sequence), tokens_of(other)
    by_name = {"u0": 0, "u1": 1}
    assert sorted(by_name[s] for s in b.speaker) == sorted(by_name[s] for s in a.speaker)
    assert torch.equal(
        sequence.read(0)[a.order].sort(dim=0)[0], other.read(0)[b.order].sort(dim=0)[0]
    )
    assert sorted(a.frames) == sorted(b.frames)


@pytest.mark.parametrize("which", ["sequence", "phone"])
def test_the_properties_find_planted_phones(which: str) -> None:
    _, sequence, means = phones_corpus(speakers=8, phones=80)
    sample = sequence if which == "sequence" else means
    make = abx_phone if which == "sequence" else abx_phone_mean
    draw = make("").draw(sample, settings(), seed=0)
    found = {(s.measure, s.control): s for s in draw.score(sample.read(0), LAYER)}
    names = ("within", "across", "within-any-context", "across-any-context")
    assert {m for m, _ in found} == {f"accuracy-{n}" for n in names}
    for name in names:
        assert found[f"accuracy-{name}", ""].value > 0.9, name
        assert found[f"accuracy-{name}", ""].error is not None
        assert found[f"accuracy-{name}", PERMUTED].value == pytest.approx(0.5, abs=0.1), name
    noise = torch.randn(sample.read(0).shape, generator=torch.Generator().manual_seed(0))
    blind = {(s.measure, s.control): s.value for s in draw.score(noise, LAYER)}
    assert blind["accuracy-within-any-context", ""] == pytest.approx(0.5, abs=0.06)


def test_few_triphones_are_refused_or_reduced() -> None:
    _, sequence, _ = phones_corpus(speakers=2, phones=20)
    with pytest.raises(TooFewError, match="triphones"):
        abx_phone("").draw(sequence, settings(), seed=0)
    draw = abx_phone("").draw(sequence, settings(scale="small"), seed=0)
    assert draw.facts["reduced"] == {"context": {"published": "triphone", "used": "any"}}
    found = {s.measure for s in draw.score(sequence.read(0), LAYER)}
    assert found == {"accuracy-within", "accuracy-across"}
    _, lone, _ = phones_corpus(speakers=1, phones=30)
    draw = abx_phone("").draw(lone, settings(scale="small"), seed=0)
    assert "one speaker" in draw.notices[0]
    assert {s.measure for s in draw.score(lone.read(0), LAYER)} == {"accuracy-within"}
