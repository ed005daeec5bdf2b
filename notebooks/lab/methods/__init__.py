"""Algorithms that a notebook shows and that are too long for one of its cells."""
