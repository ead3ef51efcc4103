"""Formats of other programs, one module each: what it writes, and how it comes back."""
