"""Masked prediction of cluster codes: MelHuBERT, and the same with mixed-in speech and noise."""
