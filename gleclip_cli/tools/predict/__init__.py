"""`gleclip predict`: masks, overlays and areas of anybody's pictures.

`pictures` finds them, `tags` says what is known of them, `model` labels them, `areas` counts.
"""

from gleclip_cli.tools.predict.work import predict

__all__ = ["predict"]
