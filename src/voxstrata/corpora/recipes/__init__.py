"""Recipes: public corpora, as published, into cut manifests. See docs/recipes.md."""
