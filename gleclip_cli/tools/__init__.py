"""The work behind the commands that are no stage, one module each."""
