"""Counting agreement with true masks: streaming, exact, in integers."""
