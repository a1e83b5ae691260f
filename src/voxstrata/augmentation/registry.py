"""Steps of augmentation by name; ``a+b`` in a configuration is step ``a``, then step ``b``."""

from __future__ import annotations

from voxstrata.augmentation.step import Kind
from voxstrata.registry import Registry

STEPS: Registry[Kind] = Registry("augmentation step", "voxstrata.augmentations")
_HERE = "voxstrata.augmentation.steps"
for _name, _target, _summary in (
    ("room", "rooms:draw_room", "a room response"),
    ("noise", "sounds:draw_noise", "one noise"),
    ("music", "sounds:draw_music", "one piece of music"),
    ("speech", "sounds:draw_speech", "one other recording of speech"),
    ("babble", "sounds:draw_babble", "several other recordings of speech"),
    ("channel", "channels:draw_channel", "a whole channel: room, noise, equaliser, band limit"),
    ("drop_freq", "drops:draw_bands", "frequency bands taken out"),
    ("drop_chunk", "drops:draw_chunks", "stretches of samples set to zero"),
):
    STEPS.add(_name, f"{_HERE}.{_target}", _summary)
