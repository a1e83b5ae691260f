"""i-vector extractors: a background mixture and a total variability matrix."""
