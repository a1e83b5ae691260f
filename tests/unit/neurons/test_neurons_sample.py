"""The sample of frames: its size, and that neither order nor interruption changes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from voxstrata.neurons.sample import SampleReducer
from voxstrata.streaming.reducers import Rows, load_state, save_state

KEYS = ("m/1", "m/2")


def speech(count: int = 30, frames: int = 100) -> list[Rows]:
    """Values that say which recording and frame they are of."""
    made = []
    for number in range(count):
        first = torch.arange(frames, dtype=torch.float32)[:, None] + 1000 * number
        made.append(
            Rows(f"u{number:02d}", 0, [first.repeat(1, 3), -first], [0.0] * frames, [0.02] * frames)
        )
    return made


def drawn(rows: list[Rows], share: float = 0.2, seed: int = 0) -> dict[str, np.ndarray]:
    one = SampleReducer(KEYS, share, seed)
    for row in rows:
        one.update(row)
    return one.finish()


def test_frames_are_kept_at_the_asked_share_and_are_the_same_in_all_layers() -> None:
    found = drawn(speech())
    kept = found["m/1"][:, 0]
    assert len(np.unique(kept)) == len(kept)
    assert 480 < len(kept) < 720  # 600 +- 5.5 standard deviations
    assert found["m/1"].shape == (len(kept), 3)
    np.testing.assert_array_equal(found["m/2"][:, 0], -kept)
    per_recording = np.bincount((kept // 1000).astype(int), minlength=30)
    assert per_recording.min() >= 4  # every recording is drawn from
    assert found["m/1"].dtype == np.float32


def test_the_draw_is_the_recordings_own() -> None:
    rows = speech()
    whole = np.sort(drawn(rows)["m/1"][:, 0])
    np.testing.assert_array_equal(np.sort(drawn(rows[::-1])["m/1"][:, 0]), whole)
    part = np.sort(drawn(rows[:10])["m/1"][:, 0])
    np.testing.assert_array_equal(part, whole[whole < 10_000])
    assert not np.array_equal(np.sort(drawn(rows, seed=1)["m/1"][:, 0]), whole)
    assert len(drawn(rows, share=7.0)["m/1"]) == 3000  # more than all is all
    more = drawn(rows, share=0.4)["m/1"][:, 0]
    assert set(whole) <= set(more.tolist())  # a larger share adds to a smaller one


def test_merged_and_resumed_samples_are_those_of_one_sitting(tmp_path: Path) -> None:
    rows = speech()
    whole = drawn(rows)
    first, second = SampleReducer(KEYS, 0.2, 0), SampleReducer(KEYS, 0.2, 0)
    save_state(tmp_path / "empty", first)
    load_state(tmp_path / "empty", second)
    for row in rows[:12]:
        first.update(row)
        second.update(row)
    save_state(tmp_path / "half", first)
    again = SampleReducer(KEYS, 0.2, 0)
    load_state(tmp_path / "half", again)
    assert again.state_bytes() == first.state_bytes() > 0
    rest = SampleReducer(KEYS, 0.2, 0)
    for row in rows[12:]:
        again.update(row)
        rest.update(row)
    second.merge(rest)
    for one in (again.finish(), second.finish()):
        for key in KEYS:
            np.testing.assert_array_equal(one[key], whole[key])


def test_nothing_kept_is_an_empty_sample() -> None:
    assert drawn(speech(2), share=0.0)["m/1"].shape == (0, 3)
    assert SampleReducer(KEYS, 0.2, 0).finish()["m/1"].size == 0
