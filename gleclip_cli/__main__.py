"""`python -m gleclip_cli` and the `gleclip` command."""

import os


def main() -> None:
    """Run the command line."""
    # Threads that wait for each other by spinning slow torch down tenfold on a machine that has
    # anything else to do (measured: refine on 2 busy cores, 200 s spinning, 12 s waiting).
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

    from gleclip_cli.cli.main import app

    app(prog_name="gleclip")


if __name__ == "__main__":
    main()
