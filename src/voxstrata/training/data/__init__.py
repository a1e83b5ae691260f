"""From a corpus to batches: items, crops, samplers, loader processes."""
