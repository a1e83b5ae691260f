"""Self-distillation without labels: DINO, RDINO, SDPN."""
