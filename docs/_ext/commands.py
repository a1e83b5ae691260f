"""The directive `commands`: every command with its options, read from the command line itself."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

MARKUP = re.compile(r"\[/?(?:bold|dim|italic)\]")


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that can be run, as it is typed, and the object behind it."""
    import typer

    from voxstrata.cli import app
    from voxstrata.cli import commands as listed

    if not app.registered_commands:
        listed.attach(app)

    def below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        children = getattr(command, "commands", {})
        if not children:
            yield name, command
        for child, one in children.items():
            yield from below(f"{name} {child}", one)

    yield from below("voxstrata", typer.main.get_command(app))


def said(text: str | None) -> list[str]:
    """The paragraphs of a help text, without the terminal's markup."""
    plain = MARKUP.sub("", inspect.cleandoc((text or "").replace("\b", "").replace("\f", "")))
    plain = plain.replace("\\[", "[")
    return [" ".join(part.split()) for part in plain.split("\n\n") if part.strip()]


def inline(text: str) -> list[nodes.Node]:
    """Text with what stands between backquotes as code."""
    parts = text.split("`")
    return [
        nodes.literal(text=part) if place % 2 else nodes.Text(part)
        for place, part in enumerate(parts)
        if part
    ]


class Commands(SphinxDirective):
    """One section a command: what it does, its arguments and its options."""

    def run(self) -> list[nodes.Node]:
        """The sections."""
        found: list[nodes.Node] = []
        for name, command in commands():
            section = nodes.section(ids=[nodes.make_id(name)])
            section += nodes.title(text=name)
            section += [nodes.paragraph("", "", *inline(part)) for part in said(command.help)]
            options = nodes.definition_list()
            for one in command.params:
                if getattr(one, "hidden", False):
                    continue
                names = [*one.opts, *one.secondary_opts] if one.param_type_name == "option" else []
                shown = ", ".join(names) or str(one.metavar or one.name).upper()
                term = nodes.term("", "", nodes.literal(text=shown))
                body = [
                    nodes.paragraph("", "", *inline(part))
                    for part in said(getattr(one, "help", "")) or ["No description."]
                ]
                options += nodes.definition_list_item("", term, nodes.definition("", *body))
            if len(options):
                section += options
            self.state.document.note_implicit_target(section, section)
            found.append(section)
        return found


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive; called by Sphinx."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
