"""Cross-validated CCA with a view: the engine, and properties with views of labels and layers."""
