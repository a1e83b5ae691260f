"""Models made smaller: what goes, in which order, what is protected, what it saves."""
