"""Mutual information of k-means codes with labels."""
