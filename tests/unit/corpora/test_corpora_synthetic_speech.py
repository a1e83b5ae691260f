"""Voices, phonemes, timing and channels of the synthetic corpus."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("espeakng_loader", reason="the extra 'synth' is not installed")

from voxstrata.corpora.synthetic import commands, grammar, phonemes, timing
from voxstrata.corpora.synthetic.channel import (
    CLEAN,
    EQUALISERS,
    NOISES,
    ROOMS,
    Channel,
    Setting,
    Studio,
    channels,
)
from voxstrata.corpora.synthetic.engine import (
    ENGINE_RATE,
    Engine,
    Event,
    Prosody,
    data_path,
    write_data,
)
from voxstrata.corpora.synthetic.timing import Speech, speak
from voxstrata.corpora.synthetic.voices import ACCENTS, Voice, voices
from voxstrata.errors import CorpusError, LabelError, UnknownNameError, UsageError
from voxstrata.types import SAMPLE_RATE

SPEAKERS = voices(24, seed=5)
SPOKEN = "there was a hungry fox on the old table, and it did not see the sailors of the ship"
TEXT = SPOKEN.split()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = {v.name: v.file(data_path()) for v in SPEAKERS}
    return write_data(tmp_path_factory.mktemp("es"), files)


@pytest.fixture
def engine(data: Path) -> Iterator[Engine]:
    with Engine(data) as opened:
        yield opened


def _say(engine: Engine, voice: Voice, words: list[str], **prosody: int) -> Speech:
    return speak(engine, voice.name, voice.accent, words, Prosody(**prosody), seed=3)


# -- engine ------------------------------------------------------------------------------


def test_an_utterance_does_not_depend_on_what_was_spoken_before(engine: Engine) -> None:
    breathy = [v for v in SPEAKERS if max(v.breath) > 3]
    assert breathy
    first = {v.name: _say(engine, v, TEXT).samples for v in SPEAKERS}
    draw = np.random.default_rng(0)
    for _ in range(3):
        for index in draw.permutation(len(SPEAKERS)):
            voice = SPEAKERS[index]
            other = SPEAKERS[draw.integers(len(SPEAKERS))]
            words = grammar.sentence(7, int(draw.integers(1000))).words
            _say(engine, other, list(words), rate=int(draw.integers(120, 260)), pitch=60)
            again = _say(engine, voice, TEXT).samples
            assert np.array_equal(first[voice.name], again), voice


def test_a_reopened_engine_says_the_same(data: Path) -> None:
    spoken = []
    for _ in range(2):
        with Engine(data) as engine:
            spoken.append(_say(engine, SPEAKERS[0], TEXT).samples)
    assert np.array_equal(*spoken)


def test_the_breath_noise_follows_the_seed(engine: Engine) -> None:
    voice = max(SPEAKERS, key=lambda v: max(v.breath))
    a, _ = engine.say(voice.name, "a quiet voice", seed=1)
    b, _ = engine.say(voice.name, "a quiet voice", seed=1)
    c, _ = engine.say(voice.name, "a quiet voice", seed=2)
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_one_engine_a_process_and_known_voices_only(engine: Engine, data: Path) -> None:
    with pytest.raises(CorpusError, match="already open"):
        Engine(data)
    with pytest.raises(CorpusError, match="no voice 'nobody'"):
        engine.say("nobody", "hello")


def test_a_path_too_long_for_the_library_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too long a path"):
        write_data(tmp_path / ("x" * 130), {})


# -- voices ------------------------------------------------------------------------------


def _pitch(samples: np.ndarray) -> float:
    """Median fundamental frequency of the loud frames, by autocorrelation, Hz."""
    found = []
    lags = np.arange(ENGINE_RATE // 450, ENGINE_RATE // 60)
    for start in range(0, len(samples) - 1200, 600):
        frame = samples[start : start + 1200].astype(float)
        if np.abs(frame).max() < 1500:
            continue
        power = np.abs(np.fft.rfft(frame - frame.mean(), 4096)) ** 2
        correlation = np.fft.irfft(power)
        best = lags[np.argmax(correlation[lags])]
        found.append(ENGINE_RATE / best)
    return float(np.median(found))


def test_speakers_are_distinct_and_balanced() -> None:
    many = voices(300, seed=0)
    assert len({v.name for v in many}) == 300
    assert Counter(v.gender for v in many) == {"F": 150, "M": 150}
    assert set(Counter((v.gender, v.accent) for v in many).values()) == {25}
    timbre = np.array([[np.log(v.pitch[0]), np.log(v.pitch[1])]
                       + [np.log(f[0]) for f in v.formants[1:4]] for v in many])  # fmt: skip
    distance = np.linalg.norm(timbre[:, None] - timbre[None], axis=2)
    assert distance[np.triu_indices(300, 1)].min() > 0.005
    assert voices(300, seed=0) == many
    assert voices(300, seed=1) != many


def test_pitch_and_formants_separate_the_sexes_and_reach_the_sound(engine: Engine) -> None:
    heard = {v.name: _pitch(_say(engine, v, TEXT).samples) for v in SPEAKERS}
    asked = np.array([np.mean(v.pitch) for v in SPEAKERS])
    got = np.array([heard[v.name] for v in SPEAKERS])
    assert np.corrcoef(asked, got)[0, 1] > 0.95
    women = [heard[v.name] for v in SPEAKERS if v.gender == "F"]
    men = [heard[v.name] for v in SPEAKERS if v.gender == "M"]
    assert np.median(women) > 1.5 * np.median(men)


@pytest.mark.parametrize("accent", ACCENTS)
def test_timbre_and_accent_combine(accent: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What ``en-gb+VARIANT`` cannot do: one accent, two timbres; one timbre, two accents."""
    from dataclasses import replace

    low, high = voices(2, accents=[accent])
    other_accent = "en-gb" if accent != "en-gb" else "en-us"
    cast = {
        "low": replace(low, accent=accent, breath=(0,) * 8),
        "high": replace(high, accent=accent, breath=(0,) * 8),
        "away": replace(low, accent=other_accent, breath=(0,) * 8),
    }
    files = {n: v.file(data_path()) for n, v in cast.items()}
    folder = write_data(tmp_path_factory.mktemp("ac"), files)
    with Engine(folder) as engine:
        spoken = {n: speak(engine, n, v.accent, TEXT, Prosody()) for n, v in cast.items()}
    # The accent's phonemes with either timbre; other phonemes with the other accent.
    assert [p[2] for p in spoken["low"].ipa] == [p[2] for p in spoken["high"].ipa]
    assert [p[2] for p in spoken["low"].ipa] != [p[2] for p in spoken["away"].ipa]
    assert abs(np.log2(_pitch(spoken["low"].samples) / _pitch(spoken["high"].samples))) > 0.15


def test_bad_requests_for_voices() -> None:
    with pytest.raises(UnknownNameError, match="en-gb"):
        voices(3, accents=["en-bg"])
    with pytest.raises(UsageError):
        voices(0)


# -- phonemes ----------------------------------------------------------------------------


def test_the_table_gives_arpabet_and_ipa_only() -> None:
    table = phonemes._table()["phonemes"]
    labels = {p for e in table.values() for p in e["arpabet"].split()}
    labels |= {p for e in table.values() if "rhotic" in e for p in e["rhotic"]["arpabet"].split()}
    assert labels == set(phonemes.ARPABET)
    assert all(set(e.get("accents", {})) <= set(ACCENTS) for e in table.values())


def test_an_unknown_phoneme_is_an_error() -> None:
    with pytest.raises(LabelError, match="no ARPAbet"):
        phonemes.label("'Q7", "en-us")


def test_r_coloured_vowels() -> None:
    assert phonemes.label("'A@", "en-us").arpabet == ("AA", "R")
    assert phonemes.label("'A@", "en-us", "r-").arpabet == ("AA",)
    assert phonemes.label("'A@", "en-us", "r").arpabet == ("AA",)
    assert phonemes.label("3", "en-us", "r-").arpabet == ("ER",)
    assert phonemes.label("A@", "en-gb").arpabet == ("AA",)
    assert phonemes.label("3", "en-us").arpabet == ("ER",)
    assert phonemes.label("3", "en-gb").arpabet == ("AH",)


def _lexicon() -> list[str]:
    return sorted({*grammar.vocabulary(), *commands.vocabulary()})


def _check_ipa(data: Path, pairs: list[tuple[Voice, list[str]]]) -> None:
    """Our labels against espeak-ng's own IPA, phoneme by phoneme."""
    spoken: dict[bool, list[list[Event]]] = {}
    for ipa in (False, True):
        with Engine(data, ipa=ipa) as engine:
            spoken[ipa] = [
                engine.say(v.name, " ".join(text), Prosody(rate=400))[1] for v, text in pairs
            ]
    for (voice, text), ours, theirs in zip(pairs, spoken[False], spoken[True], strict=True):
        assert [e.kind for e in ours] == [e.kind for e in theirs]
        for place, (event, ipa_event) in enumerate(zip(ours, theirs, strict=True)):
            name = event.name
            if event.kind == "word":
                continue
            if phonemes.is_pause(name) or phonemes.joins_next(name):
                assert ipa_event.name == ""
                continue
            # A word event between the two ends the word.
            after = ours[place + 1] if place + 1 < len(ours) else event
            following = after.name if after.kind == "phoneme" and after is not event else ""
            label = phonemes.label(name, voice.accent, following)
            assert label.ipa == ipa_event.name.lstrip("ˈˌ"), (voice.accent, text, name, following)


def _one_voice_an_accent() -> list[Voice]:
    return [next(v for v in SPEAKERS if v.accent == a) for a in ACCENTS]


def test_a_sample_of_the_lexicon_in_every_accent_has_espeaks_own_ipa(data: Path) -> None:
    pairs = [
        (voice, [word])
        for number, voice in enumerate(_one_voice_an_accent())
        for word in _lexicon()[number :: 2 * len(ACCENTS)]
    ]
    _check_ipa(data, pairs)


@pytest.mark.slow
def test_the_whole_lexicon_in_every_accent_and_in_sentences(data: Path) -> None:
    cast = _one_voice_an_accent()
    texts = [[w] for w in _lexicon()] + [list(s.words) for s in grammar.sentences(500, seed=3)]
    _check_ipa(data, [(voice, text) for voice in cast for text in texts])


# -- timing ------------------------------------------------------------------------------


def test_spans_tile_the_utterance_and_nest(engine: Engine) -> None:
    for number, voice in enumerate(SPEAKERS):
        text = grammar.sentence(2, number)
        speech = _say(engine, voice, list(text.words))
        assert [w[2] for w in speech.words] == text.text.split()
        for tier in (speech.phones, speech.ipa):
            assert tier[0][0] == 0
            assert tier[-1][1] == len(speech.samples)
            assert all(a[1] == b[0] for a, b in itertools.pairwise(tier))
            assert all(b - a >= 25 for a, b, _ in tier)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(speech.words))
        for start, end, label in speech.phones:
            inside = [w for w in speech.words if w[0] <= start and end <= w[1]]
            assert len(inside) == (label != phonemes.SILENCE), (start, end, label)


def test_fused_words_are_kept_apart(engine: Engine) -> None:
    text = "there was a man of the house who did not sit in the sun or for a day on the hill"
    for voice in _one_voice_an_accent():
        words = _say(engine, voice, text.split()).words
        assert [w[2] for w in words] == text.split()
        assert all(end > start for start, end, _ in words)


def test_closures_belong_to_their_stops(engine: Engine) -> None:
    voice = next(v for v in SPEAKERS if v.accent == "en-us")
    speech = _say(engine, voice, ["the", "cat", "took", "a", "black", "cap"])
    for start, end, label in speech.phones:
        sound = speech.samples[start:end] != 0
        if label in ("K", "P"):
            # Silence, then the burst.
            assert not sound[: (end - start) // 4].any()
            assert sound[-(end - start) // 4 :].any()
        elif label in ("AE", "UH"):
            assert sound.mean() > 0.95


@pytest.mark.parametrize("soft", [7, 256, -1])
def test_a_closure_begins_after_the_last_sample_that_sounds(soft: int) -> None:
    for closure, begin in ((63, 264), (64, 201), (99, 201)):
        sound = [300] * 200 + [soft] + [0] * closure + [500] * 80
        events = [Event("word", 0, 0), Event("phoneme", 0, name="a")]
        events.append(Event("phoneme", 201 + closure, name="t"))
        pieces = timing._pieces(np.array(sound, dtype=np.int16), events, [0])
        assert [(p.start, p.name) for p in pieces] == [(0, "a"), (begin, "t")]


def test_commas_are_heard_and_written_as_silence(engine: Engine) -> None:
    plain = _say(engine, SPEAKERS[0], ["the", "cat", "saw", "dogs"])
    paused = _say(engine, SPEAKERS[0], ["the", "cat,", "saw", "dogs"])

    def inner(speech: Speech) -> list[tuple[int, int, str]]:
        return [p for p in speech.phones[:-1] if p[2] == phonemes.SILENCE]

    assert not inner(plain)
    ((start, end, _),) = inner(paused)
    assert end - start > 0.08 * ENGINE_RATE
    assert not speech_power(paused.samples[start:end])
    assert [w[2] for w in paused.words] == ["the", "cat", "saw", "dogs"]


def speech_power(samples: np.ndarray) -> float:
    return float(np.mean(samples.astype(float) ** 2))


def test_a_word_that_is_read_as_two_is_refused_not_misplaced(engine: Engine) -> None:
    with pytest.raises(LabelError, match="every word"):
        _say(engine, SPEAKERS[0], ["hello", "...", "there"])


# -- channel -----------------------------------------------------------------------------


def _setting(equaliser: str, room: str, noise: str, snr_db: float = 60.0) -> Setting:
    return Setting(Channel(equaliser, room, noise), snr_db, -26.0, 0.9)


def test_channels_are_seeded_and_different() -> None:
    some = channels(20, seed=3)
    assert some[0] == CLEAN
    assert len({c.name for c in some}) == 20
    assert some == channels(20, seed=3)
    assert some != channels(20, seed=4)
    assert len(channels(1000)) == len(EQUALISERS) * len(ROOMS) * len(NOISES)


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("equaliser", EQUALISERS)
def test_no_channel_moves_the_speech_in_time(equaliser: str, room: str) -> None:
    click = np.zeros(4000, dtype=np.int16)
    click[2000] = 20_000
    lead = 2205
    out = Studio(0).record(click, lead, 2205, _setting(equaliser, room, "clean"))
    expected = (lead + 2000) / ENGINE_RATE * SAMPLE_RATE
    assert abs(int(np.argmax(np.abs(out.astype(int)))) - expected) <= 4
    assert len(out) == round((4000 + 2 * 2205) / ENGINE_RATE * SAMPLE_RATE)


@pytest.mark.parametrize("noise", NOISES)
def test_noise_has_the_level_asked_for(noise: str) -> None:
    time = np.arange(2 * ENGINE_RATE) / ENGINE_RATE
    tone = (8000 * np.sign(np.sin(2 * np.pi * 200 * time))).astype(np.int16)
    out = Studio(1).record(tone, 22050, 22050, _setting("flat", "dry", noise, 20.0))
    wave = out / 32768
    speech = np.mean(wave[SAMPLE_RATE : 3 * SAMPLE_RATE] ** 2)
    floor = np.mean(wave[: SAMPLE_RATE - 400] ** 2)
    assert 10 * np.log10(speech) == pytest.approx(-26.0, abs=1.0)
    # Babble and hum are not stationary.
    assert 10 * np.log10(speech / floor) == pytest.approx(20.0, abs=3.5)


def test_equalisers_and_rooms_do_what_their_names_say() -> None:
    noise = (np.random.default_rng(0).standard_normal(4 * ENGINE_RATE) * 3000).astype(np.int16)

    def bands(equaliser: str) -> tuple[float, float, float]:
        out = Studio(0).record(noise, 0, 0, _setting(equaliser, "dry", "clean"))
        power = np.abs(np.fft.rfft(out)) ** 2
        hertz = np.fft.rfftfreq(len(out), 1 / SAMPLE_RATE)
        low, mid, high = ((hertz < 200), (hertz > 500) & (hertz < 2500), hertz > 4500)
        values = [10 * np.log10(power[b].mean()) for b in (low, mid, high)]
        return values[0], values[1], values[2]

    low, mid, high = bands("phone")
    assert mid - low > 15
    assert mid - high > 20
    assert bands("dark")[2] < bands("flat")[2] - 8
    assert bands("bright")[0] < bands("flat")[0] - 5

    def tail(room: str) -> float:
        burst = noise[: ENGINE_RATE // 2]
        out = Studio(0).record(burst, 0, ENGINE_RATE, _setting("flat", room, "clean"))
        after = out[SAMPLE_RATE // 2 + 800 : SAMPLE_RATE // 2 + 3200].astype(float)
        return float(10 * np.log10(np.mean(after**2) + 1e-9))

    assert tail("dry") < tail("booth") < tail("office") < tail("hall")


def test_recordings_are_repeatable_and_do_not_clip() -> None:
    loud = (np.random.default_rng(0).standard_normal(ENGINE_RATE) * 9000).astype(np.int16)
    for channel in channels(30, seed=2):
        setting = Setting(channel, 10.0, -8.0, 0.99)
        a = Studio(2).record(loud, 100, 100, setting)
        assert np.abs(a.astype(int)).max() < 32_767
        if channel.noise in ("white", "hum"):
            assert np.array_equal(a, Studio(2).record(loud, 100, 100, setting))
            assert not np.array_equal(a, Studio(3).record(loud, 100, 100, setting))
