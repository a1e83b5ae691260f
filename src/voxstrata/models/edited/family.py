"""The family of edited models: a folder that names a model and what is changed in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from voxstrata.config import Config, build
from voxstrata.errors import CheckpointError, ModelError
from voxstrata.models.base import SpeechModel
from voxstrata.models.family import ModelSpec

if TYPE_CHECKING:
    from voxstrata.models.edited.model import EditedModel


class EditedOptions(Config):
    """Options of a folder with an edit.

    Attributes:
        base: the model to edit, where it is not (or no longer) where the folder says; must have
            the fingerprint the folder states.
    """

    base: str | None = None


class EditedFamily:
    """Models with neurons erased, replaced or scaled."""

    name = "edited"

    def names(self) -> Mapping[str, str]:
        """None: edits are folders."""
        return {}

    def recognises(self, spec: ModelSpec) -> bool:
        """A folder with ``edit.json``."""
        from voxstrata.models.edited.folder import is_edit

        return is_edit(spec.base)

    def load(self, spec: ModelSpec) -> EditedModel:
        """The model beneath, edited.

        Raises:
            ModelError: a random twin or a revision is asked for; the model beneath cannot be
                found, is another than the one the edit was made for, or lacks its neurons.
            CheckpointError: the folder is damaged; ConfigError: an option or the card is wrong.
        """
        from voxstrata.models.edited.folder import folder_of, read_edit
        from voxstrata.models.edited.model import EditedModel
        from voxstrata.models.placement import refuse_revision

        refuse_revision(spec.revision, spec.base)
        folder = folder_of(spec.base)
        card, edit = read_edit(folder)
        given = build(EditedOptions, dict(spec.options), source=f"options of {spec.text!r}")
        base = given.base or card.base
        if spec.random:
            raise ModelError(
                f"there is no untrained twin of the edited model {spec.base}",
                got=f"an edit of neurons that were chosen in {card.base}",
                expected="a model without an edit",
                fix=f"use random:{base.removeprefix('random:')}",
            )
        beneath = _beneath(base, card.fingerprint, folder)
        whole = edit
        if spec.cut is not None:
            beneath = _cut(base, spec.cut)
            left = edit.within({info.name for info in beneath.layers})
            if left is None:
                raise ModelError(
                    f"no neuron of the edit {spec.base} lies below the cut at {spec.cut!r}",
                    got=", ".join(edit.neurons),
                    expected="a later cut",
                    fix=f"use {base}@{spec.cut}, which is the same without the edit",
                )
            edit = left
        facts = {
            "made": dict(card.details),
            "left_out": sorted(set(whole.neurons) - set(edit.neurons)),
        }
        return EditedModel(beneath, edit, spec.text, facts)


def _beneath(base: str, stated: str, folder: Path) -> SpeechModel:
    """The model that an edit was made for.

    Raises:
        ModelError: it is not found, is the edit itself, or has another fingerprint.
    """
    from voxstrata.errors import VoxstrataError
    from voxstrata.models.edited.folder import folder_of, is_edit
    from voxstrata.models.load import load_model
    from voxstrata.models.spec import parse

    named = parse(base).base
    if is_edit(named) and folder_of(named).resolve() == folder.resolve():
        raise CheckpointError(f"the edit {folder} names itself as the model to edit", got=base)
    try:
        model = load_model(base)
    except VoxstrataError as error:
        raise ModelError(
            f"the model that {folder} edits cannot be loaded",
            got=f"{base}: {error.what}",
            expected=f"a model of fingerprint {stated}",
            fix=f"say where it is now: '{folder},base=MODEL'",
        ) from error
    if model.fingerprint != stated:
        raise ModelError(
            f"the edit {folder} was made for another model than {base}",
            got=f"fingerprint {model.fingerprint}",
            expected=f"fingerprint {stated}",
            fix=f"name the right model, '{folder},base=MODEL', or make the edit again for this one",
        )
    return model


def _cut(base: str, cut: str) -> SpeechModel:
    from voxstrata.models.load import load_model
    from voxstrata.models.spec import format_spec, parse

    spec = parse(base)
    return load_model(format_spec(spec.base, spec.random, spec.revision, cut, spec.options))


FAMILY = EditedFamily()
