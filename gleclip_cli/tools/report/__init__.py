"""`gleclip report`: one self-contained page of what a run holds.

`outputs` and `scores` read the run, `figures` and `charts` draw it, `picks`, `cards` and `gallery`
make its small pictures, `page` writes it. Template, style and script lie in `data/report/`.
"""

from gleclip_cli.tools.report.page import Report, report

__all__ = ["Report", "report"]
