"""Hands masks, maps and networks to other programs."""
