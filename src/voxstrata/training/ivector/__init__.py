"""Training of i-vector extractors: background mixture, statistics, total variability."""
