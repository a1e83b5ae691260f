"""Changes to speech that training and robustness tests need: noise, rooms, speed, masks."""
