"""Data sets: what their files mean, and how to find and check them."""
