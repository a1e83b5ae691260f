"""Protocols: grids and constants of training, a YAML file each."""
