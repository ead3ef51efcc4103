"""Formats of a run."""
