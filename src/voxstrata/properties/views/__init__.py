"""Views: what a layer is held against, built from labels, tiers and files; pure functions."""
