"""Probing: what small heads trained on a frozen model's layers reach on SUPERB-like tasks."""
