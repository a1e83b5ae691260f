"""Orders of neurons by how much they tell of a label, and what the orders agree on."""
