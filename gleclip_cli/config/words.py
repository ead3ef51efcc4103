"""Words that several stages know."""

CALIBRATIONS = ("none", "maskclip", "svc")
TEXTS = ("plain", "synonyms", "enriched")
REFINE_STEPS = ("caa", "par", "crf")
EVALUATE_WHAT = ("cam", "pseudo")

TRAIN, TRAINAUG = "train", "trainaug"
"""trainaug is VOC's train with the images of SBD: it holds all of train."""
