"""Acoustic word embeddings of one's own: word segments, encoder, training, view."""
