"""What of refine is repeated when pseudo masks are made anew."""

from gleclip_cli.config import RefineConfig
from gleclip_cli.seg.refresh import steps_on_pixels


def test_steps_on_pixels_are_those_of_refine_with_their_settings():
    made = {"steps": ["caa", "walk", "crf", "par"], "crf_preset": "irn", "par_iterations": 3}
    made |= {"bg_power": 2.0, "limit": 4, "unknown": 1}
    expected = RefineConfig(steps=("crf", "par"), crf_preset="irn", par_iterations=3)
    assert steps_on_pixels(made) == (expected, ["caa", "walk"])
    found, left_out = steps_on_pixels({"steps": ["regions", "crf"]})
    assert (found.steps, left_out) == (("regions", "crf"), [])
    assert steps_on_pixels({"steps": ["walk"]}) == (RefineConfig(steps=()), ["walk"])
    assert steps_on_pixels({}) == (RefineConfig(), [])
