"""Speaker verification: trials, embeddings, scores, error rates with intervals."""
