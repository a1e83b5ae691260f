"""Word and sentence tasks without training."""
