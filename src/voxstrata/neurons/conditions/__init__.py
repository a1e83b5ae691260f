"""Labels of frames and of recordings, from tiers, clusters and files."""
