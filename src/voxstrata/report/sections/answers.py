"""What several results together say: where each model holds what, and which layers are alike."""

from __future__ import annotations

from voxstrata.report import answers as words
from voxstrata.report import curve_words, resemblance
from voxstrata.report.curve_view import SCREEN, PropertyCurves
from voxstrata.report.section import Section, render
from voxstrata.report.sides import asked_models
from voxstrata.report.view import View
from voxstrata.report.words import capital, estimator_label, property_measure


def answers(view: View) -> Section | None:
    """Sentences of a page of several results folders; nothing for a single one."""
    if not view.parts:
        return None
    questions = words.questions(view)
    alike = [(facet, resemblance.kinships(view, facet)) for facet in resemblance.main_facets(view)]
    models = []
    for model in asked_models(view):
        says = []
        for first, *others in questions:
            told = [words.where(view, first, model)]
            told += [words.also(view, first, other, model) for other in others]
            says.append(" ".join(filter(None, told)))
        if alike:
            says.append(resemblance.nearest_kin(view, *alike[0], model))
        models.append({"label": view.models[model].label, "says": [t for t in says if t]})
    units = []
    for facet, found in alike:
        if not found:
            continue
        says = [
            resemblance.most_alike(view, facet, found),
            resemblance.most_alike_across(view, facet, found),
            resemblance.most_alike_beyond(view, facet, found),
        ]
        units.append(
            {
                "unit": facet.unit,
                "measure": facet.spoken,
                "says": [text for text in says if text],
                "rows": resemblance.table(view, facet, found),
            }
        )
    html = render(
        "sections/answers.html",
        models=models,
        between=[
            f"{capital(words.subject(first))}: {text}"
            for first, *_ in questions
            if (text := curve_words.verdict(view, first.main))
        ],
        measures=[
            f"{_called(first)} by {property_measure(first.main.measure)}{_way(first)}"
            for first, *_ in questions
        ],
        units=units,
    )
    return Section("answers", "What do the numbers answer?", "Answers", html)


def _way(asked: PropertyCurves) -> str:
    """How heads were trained, where that is not at length."""
    way = asked.main.estimator
    return f" ({estimator_label(way)})" if way == SCREEN else ""


def _called(asked: PropertyCurves) -> str:
    """ "phone information is phone identity, measured"; a task speaks for itself."""
    subject = words.subject(asked)
    same = subject == asked.title
    return f"{subject} is measured" if same else f"{subject} is {asked.title}, measured"
