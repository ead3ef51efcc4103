"""Where an export goes: a file or a folder that appears whole, and replaces only its like."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gleclip_cli.artifacts.atomic import as_fault, atomic_write
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.errors import UsageError


def check_target(out: Path, *, endings: tuple[str, ...], overwrite: bool, data: Path) -> None:
    """See that `out` may be written: a file, or with `endings` a folder of files that end so.

    Raises:
        UsageError: something is there and `overwrite` is off, or it is no export's, or it lies
            among the user's data.
    """
    if not out.exists() and not out.is_symlink():
        return
    where = printable(out)
    if endings and out.is_dir():
        files = [Path(parent, name) for parent, _, names in os.walk(out) for name in names]
        foreign = next((file for file in sorted(files) if file.suffix not in endings), None)
        if not files:
            return
        if foreign:
            cause = f"{where} holds {printable(foreign.relative_to(out))}, which is no export's."
            raise UsageError(cause, "Name another --out.")
    elif bool(endings) != out.is_dir():
        raise UsageError(
            f"{where} is {'a folder' if out.is_dir() else 'a file'}.", "Name another --out."
        )
    if not overwrite:
        raise UsageError(f"{where} exists.", "Replace it with --overwrite, or name another --out.")
    if out.resolve().is_relative_to(data.resolve()):
        raise UsageError(f"{where} lies among your data.", "Name an --out elsewhere.")


@contextmanager
def new_target(out: Path, *, folder: bool) -> Iterator[Path]:
    """Yield a temporary path beside `out`; on success it takes its place.

    Raises:
        EnvironmentFault: the disk is full or the folder above cannot be written.
    """
    if not folder:
        with atomic_write(out) as temporary:
            yield temporary
        return
    temporary, old = (out.with_name(f".{out.name}.{word}-{os.getpid()}") for word in ("new", "old"))
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if out.exists():
            out.rename(old)
        temporary.rename(out)
    except OSError as error:
        raise as_fault(error, out) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
