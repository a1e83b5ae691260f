"""Make the small models that come with voxstrata: train, measure, package.

    make models                                     # everything; resumable, some hours on two cores
    python scripts/make_models.py --only ecapa-small-dino --no-package

Each step is a command of voxstrata itself, shown before it runs; what is finished is kept, so the
script goes on where it was stopped. The corpora it reads are synthetic speech, made on the spot,
and ``librispeech_train_clean_100`` of the shared test data (LibriSpeech, CC BY 4.0) for training;
``librispeech_test_other`` and ``speechocean762_l2`` for measuring alone.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from voxstrata.files import read_json, write_json
from voxstrata.models.card import BUNDLED, CARD, MEAN, WEIGHTS
from voxstrata.results import load_results
from voxstrata.training.log import LOG

SPEAKER = ("ecapa-small-supervised", "ecapa-small-contrastive", "ecapa-small-dino")
SPEECH = ("melhubert-small-1", "melhubert-small", "melhubert-small-denoise")
"""In order: the first iteration makes the targets of the two others and is not packaged."""

TRAINING = (
    "synthetic,seed=101,speakers=600,sentences=8,prompts=2,keywords=0,commands=2,channels=100"
)
REAL = "librispeech_train_clean_100"
TESTS = ("librispeech_test_other", "speechocean762_l2")
HELD_OUT = "synthetic,seed=202,speakers=40,sentences=4,prompts=1,keywords=0,commands=1,channels=100"
CREDIT = (
    "Trained on synthetic speech made by voxstrata and on recordings of 60 speakers of "
    "LibriSpeech train-clean-100 (Panayotov et al., ICASSP 2015; https://www.openslr.org/12), "
    "CC BY 4.0."
)
SUMMARY = {
    "ecapa-small-supervised": "ECAPA-TDNN, C = 128, trained to tell 660 speakers apart",
    "ecapa-small-contrastive": "ECAPA-TDNN, C = 128, SimCLR without labels",
    "ecapa-small-dino": "ECAPA-TDNN, C = 128, DINO without labels",
    "melhubert-small": "MelHuBERT, 4 blocks of 192, second iteration",
    "melhubert-small-denoise": "MelHuBERT, 4 blocks of 192, second iteration, denoising",
}


def run(*arguments: str | Path) -> None:
    """A command of voxstrata."""
    given = [str(a) for a in arguments]
    print("\n$ voxstrata", shlex.join(given), flush=True)
    subprocess.run([sys.executable, "-m", "voxstrata", *given], check=True)


def measure_speaker(names: list[str], work: Path, shared: Path) -> dict[str, dict[str, Any]]:
    """Error rates of speaker encoders, their twins and the baselines, by model."""
    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    models = [work / name / "model" for name in names]
    mean = f"{TRAINING} + {shared / 'data' / REAL}"
    sets = [(test, str(shared / "data" / test)) for test in TESTS] + [("synthetic", HELD_OUT)]
    for test, corpus in sets:
        for channel in ("none", "random"):
            out = work / "measured" / f"{'+'.join(names)}-{test}-{channel}"
            run(
                "verify", *models, "--corpus", corpus, "--mean-from", mean, "--mean-limit", "2000",
                "--channel", channel, "--overwrite", "missing", "-o", out,
            )  # fmt: skip
            key = f"{test}, {'as recorded' if channel == 'none' else 'random channels'}"
            for name, rows in by_model(out, dict(zip(map(str, models), names, strict=True))):
                found[name][key] = rows
    return found


def by_model(out: Path, names: dict[str, str]) -> list[tuple[str, dict[str, Any]]]:
    """Error rates in percent with intervals: of each model, its twin, and the baselines."""
    results = load_results(out)
    table = results.table[results.table["measure"] == "eer-interpolated"]

    def rate(spec: str, scoring: str) -> list[float]:
        row = table[(table["model"] == spec) & (table["estimator"] == scoring)].iloc[0]
        return [round(100 * float(row[c]), 2) for c in ("value", "ci_low", "ci_high")]

    found = []
    for spec, name in names.items():
        beside = {"this model": spec, "untrained twin": f"random:{spec}"}
        beside |= {base: base for base in ("mfcc", "log-mel")}
        have = set(table["model"])
        rows = {
            label: {
                "EER %, training mean subtracted": rate(one, "cosine-centred"),
                "EER %, plain cosine": rate(one, "cosine"),
            }
            for label, one in beside.items()
            if one in have
        }
        centred = "EER %, training mean subtracted"
        rows["reduction"] = {
            "below twin, %": round(
                100 * (1 - rows["this model"][centred][0] / rows["untrained twin"][centred][0]), 1
            )
        }
        found.append((name, rows))
    return found


PHONES = {"linear-phone-frame": "accuracy", "linear-phone": "accuracy", "cca-phone": "pwcca"}
"""What is measured of speech models: share of frames, and of phone segments, whose phone a linear
classifier names on held-out recordings, and PWCCA of phone segments with phone identity."""


def measure_speech(names: list[str], work: Path, shared: Path) -> dict[str, dict[str, Any]]:
    """Phone information of the best layer beside twin, first iteration and baselines."""
    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    first = str(work / "melhubert-small-1" / "model")
    models = [str(work / name / "model") for name in names]
    # The other test set has no phone times.
    for test in TESTS[:1]:
        out = work / "measured" / f"{'+'.join(names)}-{test}"
        run(
            "properties", *models, first, "log-mel", "log-mel,context=5",
            "-c", shared / "data" / test, "-p", ",".join(PHONES), "--frames", "30000", "-o", out,
        )  # fmt: skip
        results = load_results(out)
        table = results.table[results.table["control"] == ""]
        for name, spec in zip(names, models, strict=True):
            beside = {
                "this model": spec,
                # models of one shape share a twin
                "untrained twin": results.record["twins"][spec],
                "first iteration": first,
                "log-mel, one frame": "log-mel",
                "log-mel, eleven frames": "log-mel,context=5",
            }
            rows: dict[str, Any] = {}
            for asked, measure in PHONES.items():
                mine = table[(table["property"] == asked) & (table["measure"] == measure)]
                rows[f"{asked} {measure}, best layer"] = {
                    label: best_layer(mine[mine["model"] == one]) for label, one in beside.items()
                }
            found[name][test] = rows
    return found


def best_layer(rows: Any) -> dict[str, Any]:
    """The layer with the highest value, with its interval."""
    best = rows.loc[rows["value"].idxmax()]
    return {
        "layer": str(best["layer"]),
        "value": round(float(best["value"]), 4),
        "95 %": [round(float(best["ci_low"]), 4), round(float(best["ci_high"]), 4)],
    }


def beats_a_baseline(measured: dict[str, Any]) -> bool:
    """Whether a model is better than every baseline on one of the sets of real speech at least.

    Args:
        measured: what :func:`measure_speaker` or :func:`measure_speech` found of it.
    """
    won = []
    for key, rows in measured.items():
        if not key.startswith(TESTS):
            continue
        if "this model" in rows:  # error rates: the lower the better
            rate = "EER %, training mean subtracted"
            others = [rows[base][rate][0] for base in ("mfcc", "log-mel")]
            won.append(rows["this model"][rate][0] < min(others))
        for kinds in (value for asked, value in rows.items() if "best layer" in asked):
            others = [one["value"] for label, one in kinds.items() if label.startswith("log-mel")]
            won.append(kinds["this model"]["value"] > max(others))
    return any(won)


def package(name: str, work: Path, measured: dict[str, Any]) -> None:
    """Copy a model into the package, with what was measured."""
    source, target = work / name / "model", BUNDLED / name
    if target.exists():
        shutil.rmtree(target)
    target.mkdir(parents=True)
    for file in (WEIGHTS, MEAN, LOG):
        if (source / file).exists():
            shutil.copyfile(source / file, target / file)
    card = read_json(source / CARD)
    card["name"], card["summary"] = name, SUMMARY[name]
    card["licence"], card["credit"] = "CC BY 4.0", CREDIT
    card["training"].pop("speakers", None)
    card["made_by"] = f"python scripts/make_models.py --only {name}"
    card["metrics"]["measured"] = measured
    write_json(target / CARD, card)
    print(f"{target}: {sum(f.stat().st_size for f in target.iterdir()) / 1e6:.2f} MB")


def main() -> None:
    """Train, measure, package."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[*SPEAKER, *SPEECH])
    parser.add_argument("--work", type=Path, default=Path("build/models"))
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--no-package", action="store_true")
    given = parser.parse_args()
    for name in given.only:
        run("train", name, "-o", given.work / name)
    measured: dict[str, dict[str, Any]] = {}
    speaker = [name for name in SPEAKER if name in given.only]
    if speaker:
        measured |= measure_speaker(speaker, given.work, given.shared)
    speech = [name for name in SPEECH[1:] if name in given.only]
    if speech:
        measured |= measure_speech(speech, given.work, given.shared)
    write_json(given.work / "measured.json", measured)
    if not given.no_package:
        for name in [*speaker, *speech]:
            if not beats_a_baseline(measured[name]):
                sys.exit(
                    f"{name} is no better than plain features on any set of real speech "
                    f"({given.work / 'measured.json'}): it is not packaged"
                )
            package(name, given.work, measured[name])


if __name__ == "__main__":
    main()
