"""``voxstrata verify``: how well a model tells speakers apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

if TYPE_CHECKING:
    from voxstrata.verification.prepare import Prepared

TRIALS = "Trials"
SCORING = "Embeddings and scores"
BESIDE = "Controls and intervals"
MACHINE = "Machine and folder"
"""Headings of --help."""


def verify(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Models: a folder or checkpoint of a speaker encoder, a registered name "
            "(mfcc, hubert-base@9), a hub id, or random:NAME. `voxstrata models list` shows names.",
            show_default=False,
        ),
    ] = None,
    corpus: Annotated[
        str | None,
        typer.Option("--corpus", "-c", help="Corpus of the recordings, with their speakers."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for results, figures and report.html.")
    ] = Path("verify"),
    trials: Annotated[
        str | None,
        typer.Option(
            "--trials",
            "-t",
            help="List of trials: lines `1 ID ID` (VoxCeleb) or `ID ID target` (Kaldi). Default: "
            "every pair of recordings of the corpus.",
            rich_help_panel=TRIALS,
        ),
    ] = None,
    missing: Annotated[
        str | None,
        typer.Option(
            help="Trials of recordings the corpus has not: stop (default), or skip and count.",
            rich_help_panel=TRIALS,
        ),
    ] = None,
    same_gender: Annotated[
        bool | None,
        typer.Option("--same-gender", help="Only pairs of one gender.", rich_help_panel=TRIALS),
    ] = None,
    session: Annotated[
        str | None,
        typer.Option(
            "--cross-session",
            metavar="TIER",
            help="Only target pairs of two sessions: chapter, video, ...",
            rich_help_panel=TRIALS,
        ),
    ] = None,
    max_trials: Annotated[
        int | None,
        typer.Option(help="A seeded sample of this many pairs.", rich_help_panel=TRIALS),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(help="Use a seeded subset of this many recordings.", rich_help_panel=TRIALS),
    ] = None,
    mean_from: Annotated[
        str | None,
        typer.Option(
            metavar="CORPUS",
            help="Corpus whose mean embedding is subtracted (the training corpus, as a rule). "
            "Default: trials, the mean of the recordings themselves.",
            rich_help_panel=SCORING,
        ),
    ] = None,
    mean_limit: Annotated[
        int | None,
        typer.Option(
            help="Use a seeded subset of this many recordings for the mean.",
            rich_help_panel=SCORING,
        ),
    ] = None,
    as_norm: Annotated[
        str | None,
        typer.Option(
            "--as-norm",
            metavar="CORPUS",
            help="Also AS-norm, with the speakers of this corpus as cohort.",
            rich_help_panel=SCORING,
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(help="Cohort members used a side (default 300).", rich_help_panel=SCORING),
    ] = None,
    deviation: Annotated[
        str | None,
        typer.Option(
            help="Of cohort scores: population (default, WeSpeaker) or sample (SpeechBrain).",
            rich_help_panel=SCORING,
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            help="Also score by backends, with commas: plda, lda, wccn, lda-wccn, lda-plda.",
            rich_help_panel=SCORING,
        ),
    ] = None,
    backend_from: Annotated[
        str | None,
        typer.Option(
            metavar="CORPUS",
            help="Corpus with speakers that backends are learned from.",
            rich_help_panel=SCORING,
        ),
    ] = None,
    backend_limit: Annotated[
        int | None,
        typer.Option(
            help="Use a seeded subset of this many recordings for backends.",
            rich_help_panel=SCORING,
        ),
    ] = None,
    lda_dim: Annotated[
        int | None,
        typer.Option(
            help="Dimensions that LDA keeps (default: at most 200).", rich_help_panel=SCORING
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            help="Layer of the models. Default: the embedding, else the last layer.",
            rich_help_panel=SCORING,
        ),
    ] = None,
    pooling: Annotated[
        str | None,
        typer.Option(
            help="Of layers with a time axis: mean (auto), mean+std (auto for log-mel, mfcc).",
            rich_help_panel=SCORING,
        ),
    ] = None,
    crops: Annotated[
        bool | None,
        typer.Option(
            "--crops",
            help="Also the average with 5 x 5 crops of 3.015 s (TaoRuijie).",
            rich_help_panel=SCORING,
        ),
    ] = None,
    channel: Annotated[
        str | None,
        typer.Option(
            help="none (default), or random: each recording through an equaliser, room, noise "
            "and band limit of its own, so that speaker and channel no longer go together.",
            rich_help_panel=SCORING,
        ),
    ] = None,
    channel_seed: Annotated[
        int | None, typer.Option(help="Seed of the channels.", rich_help_panel=SCORING)
    ] = None,
    channel_on: Annotated[
        str | None,
        typer.Option(
            help="trials (default), or all: the corpora of mean and cohort too.",
            rich_help_panel=SCORING,
        ),
    ] = None,
    twins: Annotated[
        bool | None,
        typer.Option(
            "--twins/--no-twins",
            help="Also the untrained twin of each trained model (default).",
            rich_help_panel=BESIDE,
        ),
    ] = None,
    baselines: Annotated[
        bool | None,
        typer.Option(
            "--baselines/--no-baselines",
            help="Also mean and deviation of log-mel and MFCC (default).",
            rich_help_panel=BESIDE,
        ),
    ] = None,
    definition: Annotated[
        str | None,
        typer.Option(
            "--eer",
            help="EER with intervals: interpolated (default; WeSpeaker, 3D-Speaker), max "
            "(TaoRuijie) or mean (SpeechBrain). All three are in the table.",
            rich_help_panel=BESIDE,
        ),
    ] = None,
    p_target: Annotated[
        str | None,
        typer.Option(
            help="Priors of minDCF, with commas (default 0.01,0.05).", rich_help_panel=BESIDE
        ),
    ] = None,
    replicates: Annotated[
        int | None,
        typer.Option(
            help="Draws of speakers behind intervals (default 1000; 0: none).",
            rich_help_panel=BESIDE,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of draws and samples.", rich_help_panel=BESIDE)
    ] = None,
    keep_scores: Annotated[
        bool | None,
        typer.Option("--keep-scores", help="Write scores.parquet.", rich_help_panel=MACHINE),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="Of the models: float32 (default), bfloat16, float16.", rich_help_panel=MACHINE
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto (default), cpu, cuda:0.", rich_help_panel=MACHINE)
    ] = None,
    batch_s: Annotated[
        float | None,
        typer.Option(
            "--batch-seconds", help="Seconds of audio in a batch.", rich_help_panel=MACHINE
        ),
    ] = None,
    on_error: Annotated[
        str | None,
        typer.Option(
            help="A bad recording: skip it and list it (default), or stop.",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(help="Name written into the results.", rich_help_panel=MACHINE),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="YAML file with the same settings; flags win over it.",
            exists=False,
            rich_help_panel=MACHINE,
        ),
    ] = None,
    overwrite: Annotated[
        str,
        typer.Option(
            help="If OUT holds results: missing (keep and finish), always, never, only-cache.",
            rich_help_panel=MACHINE,
        ),
    ] = "missing",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Check everything, print the plan, compute nothing.",
            rich_help_panel=MACHINE,
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress bars.", rich_help_panel=MACHINE)
    ] = False,
) -> None:
    """Speaker verification: equal error rate and detection cost, with intervals over speakers.

    Two recordings are scored by the cosine of their embeddings, plain and after subtracting a
    mean. Every model stands beside its untrained twin and beside plain features: on recordings
    as they are, these are often good too, because a speaker keeps a microphone. --channel random
    takes that away.

    Example: voxstrata verify out/model -c ~/my-corpus -o scores

    A list, a mean, a cohort: voxstrata verify out/model -t veri_test2.txt -c /corpora/vox1
    --mean-from /corpora/vox2 --as-norm /corpora/vox2 -o scores

    PLDA, learned elsewhere: voxstrata verify out/model -c CORPUS --backend plda
    --backend-from /corpora/vox2 -o scores

    Without any data: voxstrata verify mfcc -c synthetic:demo -o scores
    """
    from rich.console import Console

    from voxstrata.cli.verify_shown import show_plan, show_results
    from voxstrata.config import load
    from voxstrata.errors import UsageError
    from voxstrata.verification.settings import VerifyConfig

    if config is None and not models:
        raise UsageError(
            "no model is named",
            expected="one or more models before the options",
            fix="for example: voxstrata verify out/model --corpus FOLDER; `voxstrata models list` "
            "shows names",
        )
    if config is None and not corpus:
        raise UsageError(
            "no corpus is named",
            expected="--corpus with recordings whose speakers are known",
            fix="for example --corpus ~/recordings, or --corpus synthetic:demo; docs/corpora.md",
        )
    given: dict[str, Any] = {
        "models": tuple(models) if models else None,
        "corpus": corpus,
        "trials": trials,
        "missing": missing,
        "same_gender": same_gender,
        "session": session,
        "max_trials": max_trials,
        "limit": limit,
        "mean_from": mean_from,
        "mean_limit": mean_limit,
        "as_norm": as_norm,
        "top": top,
        "deviation": deviation,
        "backend": tuple(backend.split(",")) if backend else None,
        "backend_from": backend_from,
        "backend_limit": backend_limit,
        "lda_dim": lda_dim,
        "layer": layer,
        "pooling": pooling,
        "crops": crops,
        "channel": channel,
        "channel_seed": channel_seed,
        "channel_on": channel_on,
        "twins": twins,
        "baselines": baselines,
        "definition": definition,
        "p_targets": tuple(p_target.split(",")) if p_target else None,
        "replicates": replicates,
        "seed": seed,
        "keep_scores": keep_scores,
        "dtype": dtype,
        "device": device,
        "batch_s": batch_s,
        "on_error": on_error,
        "study": study,
    }
    settings = load(VerifyConfig, config, given)

    from voxstrata.report import draw_report
    from voxstrata.streaming.runs import Hooks, Overwrite
    from voxstrata.verification.job import run_verification
    from voxstrata.verification.prepare import prepare

    if overwrite not in get_args(Overwrite):
        raise UsageError(
            "--overwrite is not understood",
            got=overwrite,
            expected="always, missing, never or only-cache",
        )
    console = Console(stderr=True)
    if dry_run:
        show_plan(prepare(settings), console)
        return
    hooks: Hooks[Prepared] = Hooks(
        planned=lambda prepared: show_plan(prepared, console), progress=not quiet
    )
    results = run_verification(settings, out, overwrite=cast(Overwrite, overwrite), hooks=hooks)
    page = draw_report(out)
    show_results(results, Console())
    for notice in results.record["notices"]:
        console.print(f"note: {notice}", highlight=False, markup=False)
    typer.echo(str(page))
