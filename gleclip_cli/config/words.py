"""Words that several stages know."""

CALIBRATIONS = ("none", "maskclip", "svc")
TEXTS = ("plain", "synonyms", "enriched")
GRID_STEPS = ("caa", "walk")
PIXEL_STEPS = ("par", "regions", "crf")
REFINE_STEPS = (*GRID_STEPS, *PIXEL_STEPS)
"""The first two work on maps of classes, before there is a background; the others on pixels."""
MODEL_STEPS = (*GRID_STEPS, "regions")
"""They look at images through CLIP again."""
EVALUATE_WHAT = ("cam", "pseudo")

TRAIN, TRAINAUG = "train", "trainaug"
"""trainaug is VOC's train with the images of SBD: it holds all of train."""
