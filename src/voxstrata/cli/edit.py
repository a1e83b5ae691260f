"""``voxstrata edit``: models with some of their neurons changed, and their controls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from voxstrata.cli import options

if TYPE_CHECKING:
    from voxstrata.models.edited.edit import Kind
    from voxstrata.neurons.interventions.matched import Control


def edit(
    model: Annotated[str, typer.Argument(help="The model that the neurons are of.")],
    neurons: Annotated[
        Path,
        typer.Option(
            "--set", help="A neuron set: a JSON file that `voxstrata neurons` wrote (OUT/sets)."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the edited model.")],
    kind: Annotated[
        str,
        typer.Option(
            help="erase: activation 0. mean: its mean over --corpus. resample: its value in "
            "another frame of --corpus, drawn for each frame. scale: times --factor."
        ),
    ] = "erase",
    group: Annotated[
        str | None, typer.Option(help="Only the set's neurons of this group (F, say).")
    ] = None,
    layers: Annotated[
        str | None, typer.Option(help="Only these layers: names or patterns, with commas.")
    ] = None,
    factor: Annotated[float | None, typer.Option(help="For scale: 0.5 halves, 2 doubles.")] = None,
    controls: Annotated[
        int,
        typer.Option(
            min=0, help="Write so many controls beside OUT: as many other neurons of each layer."
        ),
    ] = 0,
    control: Annotated[
        str,
        typer.Option(
            help="random: any other neurons. norm: neurons of the same mean |a| times length of "
            "what they write (needs --corpus), so that erasing them takes as much away."
        ),
    ] = "random",
    corpus: options.Corpus = None,
    limit: options.Limit = None,
    as_weights: Annotated[
        bool,
        typer.Option(
            "--as-weights",
            help="Write an ordinary model with the edit in its weights (erase, mean, scale).",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of draws, controls and the subset.")] = 0,
    quiet: options.Quiet = False,
) -> None:
    """Change neurons of a model: erase them, hold them at their mean, resample or scale them.

    OUT becomes a small folder that names the model and says what is changed. It can be given to
    every command that takes a model: similarity, properties, probe, verify. What an edit shows
    means little alone: any neurons that are taken away do some harm. So write controls too, and
    run the same command on all of them.

    Example: voxstrata edit melhubert-small --set out/sets/speaker.json -o no-speaker --controls 5

    Then: voxstrata verify melhubert-small no-speaker no-speaker-random-1 no-speaker-random-2 -c
    CORPUS -o scores

    A single group, with controls of the same weight: voxstrata edit melhubert-small --set
    out/sets/gender.json --group F --kind mean --controls 5 --control norm -c CORPUS -o no-female
    """
    from rich.console import Console

    from voxstrata.config import split_names
    from voxstrata.neurons.interventions.job import make_edits
    from voxstrata.neurons.sets import load_set

    console = Console()
    found = make_edits(
        model,
        load_set(neurons),
        cast("Kind", kind),
        out,
        group=group,
        layers=split_names(layers) if layers else None,
        corpus=corpus,
        limit=limit,
        factor=factor,
        seed=seed,
        controls=controls,
        control=cast("Control", control),
        as_weights=as_weights,
        progress=not quiet,
    )
    for made in found:
        counts = [f"{name}: {n}" for name, n in made.neurons.counts().items() if n]
        if not quiet:
            console.print(
                f"{made.folder}: {made.neurons.name}, {len(made.neurons)} neurons "
                f"({', '.join(counts)})",
                highlight=False,
                soft_wrap=True,
                markup=False,
            )
        for note in made.notes:
            console.print(f"  {note}", highlight=False, soft_wrap=True, markup=False)
        for layer, fit in made.neurons.details.get("match", {}).items():
            if not quiet:
                console.print(
                    f"  {layer}: weight {fit['control']:.3g}, the set's {fit['set']:.3g} "
                    f"(KS distance {fit['ks']:.2f})",
                    highlight=False,
                    markup=False,
                )
    folders = [str(made.folder) for made in found]
    if quiet:
        typer.echo("\n".join(folders))
        return
    console.print("what it does shows side by side, for example:", highlight=False)
    typer.echo(f"voxstrata probe {' '.join([model, *folders])} -c CORPUS --tasks sid,gender -o out")
