"""MelHuBERT: HuBERT on log-mel features (arXiv 2211.09944)."""
