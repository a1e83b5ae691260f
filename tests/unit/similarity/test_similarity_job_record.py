"""What goes into the run record is JSON, whatever models and corpora say of themselves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from voxstrata.streaming.runs import plain


def test_odd_details_become_json() -> None:
    record = {
        "a": float("nan"),
        "b": np.float32(1.5),
        3: (np.int64(2), Path("x/y"), None, True),
        "c": {"deep": [float("inf"), 0.25]},
    }
    made = plain(record)
    assert made == {"a": None, "b": 1.5, "3": [2, "x/y", None, True], "c": {"deep": [None, 0.25]}}
    assert json.loads(json.dumps(made, allow_nan=False)) == made
