"""How phone and speaker share a layer: variance, probes, subspaces."""
