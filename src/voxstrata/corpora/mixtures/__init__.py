"""Conversations of two speakers, mixed from recordings of one speaker each.

For speaker diarization where no corpus of conversations is at hand: what SUPERB takes from
LibriMix, with turns that alternate and partly overlap.
"""
