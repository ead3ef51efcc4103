"""gleclip: image-level tags to pixel masks, weakly supervised with CLIP."""

__version__ = "0.1.0"
