"""Models made here: objectives, data, the training loop, export."""
