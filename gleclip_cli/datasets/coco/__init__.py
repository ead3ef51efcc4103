"""COCO: instances in JSON, label lists, masks as outlines or pictures."""
