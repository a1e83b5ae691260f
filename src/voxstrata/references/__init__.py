"""What things are and whom they are from: explanations of names, and the literature to cite."""
