"""Speech encoders that the transformers library can build; see ``docs/models.md``."""
