"""Neurons of a model: which know what, what they do, and models without some of them."""
