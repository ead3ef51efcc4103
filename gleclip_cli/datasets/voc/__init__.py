"""PASCAL VOC 2012, with SBD and the label tables that go with it."""
