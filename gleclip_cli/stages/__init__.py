"""The method, one file per stage; the only loops over a split. Callable from Python, silent."""
