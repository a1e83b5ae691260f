"""The list of commands: one line each. Their modules keep heavy imports inside functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import typer


def attach(app: typer.Typer) -> None:
    """Add every command and command group to ``app``."""
    from voxstrata.cli import (
        cite,
        compare,
        corpora,
        demo,
        doctor,
        edit,
        explain,
        layers,
        models,
        neurons,
        probe,
        properties,
        protect,
        prune,
        report,
        similarity,
        study,
        train,
        verify,
    )

    app.command("demo")(demo.demo)
    app.command("similarity", help=flowing(similarity.similarity))(similarity.similarity)
    app.command("properties", help=flowing(properties.properties))(properties.properties)
    app.command("probe", help=flowing(probe.probe))(probe.probe)
    app.command("neurons", help=flowing(neurons.neurons))(neurons.neurons)
    app.command("layers", help=flowing(layers.layers))(layers.layers)
    app.command("train", help=flowing(train.train))(train.train)
    app.command("verify", help=flowing(verify.verify))(verify.verify)
    app.command("edit", help=flowing(edit.edit))(edit.edit)
    app.command("prune", help=flowing(prune.prune))(prune.prune)
    app.command("protect", help=flowing(protect.protect))(protect.protect)
    app.command("report")(report.report)
    app.command("compare", help=flowing(compare.compare))(compare.compare)
    app.command("explain", help=flowing(explain.explain))(explain.explain)
    app.command("cite", help=flowing(cite.cite))(cite.cite)
    app.command("doctor")(doctor.doctor)
    app.add_typer(corpora.app, name="corpora")
    app.add_typer(models.app, name="models")
    app.add_typer(study.app, name="study")


def flowing(command: Callable[..., None]) -> str:
    """The docstring with every paragraph on one line, so that a terminal wraps it at its width."""
    text = inspect.cleandoc(command.__doc__ or "")
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
