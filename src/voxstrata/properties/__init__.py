"""What each layer encodes: CCA views, mutual information, word tasks, choosing layers."""
