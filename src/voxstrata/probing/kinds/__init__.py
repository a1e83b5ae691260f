"""Kinds of heads, a file each: what a task is trained with."""
