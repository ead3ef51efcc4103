"""From CLIP's features to class activation maps: similarity, Grad-CAM, fusion of views."""
