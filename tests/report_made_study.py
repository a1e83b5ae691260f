"""A made study: analyses of several kinds, two claims, and names that break careless pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from report_made_joined import PLANTED_CURVES, PLANTED_PAIRS, write_properties, write_similarities
from report_made_neurons import write_neurons
from report_made_probing import write_probing
from report_made_protection import write_protection
from voxstrata.files import write_json
from voxstrata.results import load_results, write_results

HOSTILE = "<img src=x onerror=window.owned=3>"

SUPPORTED: dict[str, Any] = {
    "name": "planted",
    "title": f"Layers {HOSTILE} differ",
    "paper": "Figure 1 of nobody",
    "verdict": "supported",
    "seeds": [
        {
            "seed": 0,
            "verdict": "supported",
            "found": [f"They differ by 0.012 ({HOSTILE})."],
            "effects": [
                {"what": "a less b", "value": 0.012, "low": 0.004, "high": 0.02, "n": 7,
                 "unit": "speakers", "controls": {"untrained twin": 0.001, "permutation": 0.0},
                 "verdict": "supported", "doubt": "", "missing": ""},
            ],
            "tables": {"By layer": [{"layer": "block1", "value": 0.5}, {"layer": "0"}]},
        }
    ],
}  # fmt: skip
UNSURE: dict[str, Any] = {
    "name": "unsure",
    "title": "Nobody knows",
    "paper": "nothing",
    "verdict": "cannot tell",
    "seeds": [
        {"seed": 0, "verdict": "cannot tell", "found": [], "tables": {},
         "effects": [{"what": "c", "value": None, "low": None, "high": None, "n": 0, "unit": "",
                      "controls": {}, "verdict": "cannot tell", "doubt": "no such analysis",
                      "missing": "no such analysis"}]},
    ],
}  # fmt: skip


def write_study(folder: Path, *, sections: list[str] | None = None, **record: Any) -> Path:
    """A study's folder with properties, similarities, probing, neurons and protection.

    Args:
        folder: made.
        sections: what the study asks its page to show.
        record: entries of the record.
    """
    jobs = {
        "properties": lambda place: write_properties(place, PLANTED_CURVES),
        "similarity": lambda place: write_similarities(place, PLANTED_PAIRS),
        "probing": write_probing,
        "neurons": write_neurons,
        "protection": write_protection,
    }
    analyses = []
    for name, write in jobs.items():
        results = load_results(write(folder / name))
        analyses.append(
            {"name": name, "folder": name, "job": results.record["job"], "seed": 0,
             "rows": len(results.table), "failed": "", "wall_s": 12.5}
        )  # fmt: skip
    told = {
        "job": "study",
        "study": "made",
        "source": "made.yaml",
        "scale": "demo",
        "command": "voxstrata study run made.yaml",
        "title": f"What is {HOSTILE} made of?",
        "question": f"Is it {HOSTILE}?",
        "about": "Two sentences.\nOn two lines.",
        "cites": ["a2024"],
        "roles": {"speech": ["a"], "<b>": ["a"]},
        "specs": {HOSTILE: "a"},
        "analyses": analyses,
        "failed": [],
        "claims": [],
        "notices": [f"left out: {HOSTILE}"],
        "config": {"seeds": [0], "report": {"sections": sections}},
        "wall_s": 62.5,
        **record,
    }
    write_results(folder, [], told)
    write_json(folder / "claims.json", [SUPPORTED, UNSURE])
    return folder
