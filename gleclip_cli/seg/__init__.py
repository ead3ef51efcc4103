"""Segmentation networks that need no image-level labels: built, trained and applied.

Every network takes RGB pictures in [0, 1] and returns logits at the size of the picture;
normalisation belongs to the network. Axes: b batch, c classes with background first, H W pixels.
"""
