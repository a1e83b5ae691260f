"""ECAPA-TDNN speaker encoders: one network with options, five presets, checkpoint readers."""
