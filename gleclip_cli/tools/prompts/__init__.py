"""`gleclip prompts`: how well texts match a few pictures, before hours are spent on many."""

from gleclip_cli.tools.prompts.matching import Findings, Loss, Match, TextMatch, match_prompts

__all__ = ["Findings", "Loss", "Match", "TextMatch", "match_prompts"]
