"""Mathematics shared by the rooms above; import the submodule you need (see docs/similarity.md)."""
