"""The one pass over a corpus: plan, batches, units, reducers, row store, checkpoints."""
