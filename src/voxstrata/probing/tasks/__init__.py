"""Tasks: one YAML file or module each."""
