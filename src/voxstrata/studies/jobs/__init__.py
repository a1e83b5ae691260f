"""The jobs that a study can name: each says how it is prepared, run and forecast."""
