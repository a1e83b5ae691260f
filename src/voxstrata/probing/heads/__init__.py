"""Heads of SUPERB's tasks with their published layouts, one file each."""
