"""The command line: options in, one call, a summary out. Only this package knows Typer and rich."""
