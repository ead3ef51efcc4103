"""`python -m gleclip_cli` and the `gleclip` command."""


def main() -> None:
    """Run the command line."""
    from gleclip_cli.cli.main import app

    app(prog_name="gleclip")


if __name__ == "__main__":
    main()
