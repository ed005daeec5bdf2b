"""Figures, drawn at the size and in the font size at which the report prints them."""
