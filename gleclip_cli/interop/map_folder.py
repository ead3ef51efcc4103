"""A folder of maps that were made elsewhere: one file per image, named by its id."""

import hashlib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gleclip_cli.artifacts.lines import sha256_of
from gleclip_cli.artifacts.maps import Cam, load_cam
from gleclip_cli.artifacts.run_dir import printable, safe_name
from gleclip_cli.errors import BadInput, MissingInput
from gleclip_cli.interop.cam_dicts import read_cam_dict

_SHOWN = 5


@dataclass(frozen=True)
class MapFolder:
    """The files of a folder by the quoted ids of their images; `form`: how to read them.

    `npz` is gleclip's own form (`Cam`), for others see `cam_dicts`.
    """

    folder: Path
    form: str
    files: Mapping[str, Path]

    def path(self, image_id: str) -> Path | None:
        """The file of an image, if there is one."""
        return self.files.get(safe_name(image_id))

    def fingerprint(self, image_id: str) -> str:
        """Hash of the file of an image; empty without one."""
        path = self.path(image_id)
        return sha256_of(path) if path else ""

    def listing(self) -> str:
        """Hash of all names and sizes."""
        lines = (f"{p.relative_to(self.folder)} {p.stat().st_size}\n" for p in self.files.values())
        return hashlib.sha256(b"".join(os.fsencode(line) for line in lines)).hexdigest()

    def load(
        self, image_id: str, *, size: tuple[int, int], num_classes: int, tags: Collection[int]
    ) -> Cam:
        """Read the maps of an image of `size` (H, W); `num_classes` counts background.

        An image without tags may have no file, as peers make none: it has no maps.

        Raises:
            BadInput: the file cannot be read, is of another size, or holds a class that the image
                is not tagged with.
        """
        path = self.path(image_id)
        if path is None:
            return Cam(np.empty((0, 1, 1), np.float32), np.empty(0, np.int64), size)
        if self.form == "npz":
            cam = load_cam(path)
        else:
            cam = read_cam_dict(path, self.form, size=size, num_classes=num_classes)
        if cam.size != size:
            raise BadInput(
                f"{printable(path)} is of {cam.size} pixels, {printable(image_id)} has {size}.",
                "Name the maps of these photographs with --cams.",
            )
        if strangers := sorted(set(cam.class_ids.tolist()) - set(tags)):
            raise BadInput(
                f"{printable(path)} has maps of the class ids {strangers[:_SHOWN]}, and "
                f"{printable(image_id)} is tagged with {sorted(tags)}.",
                "Mend the tags, or the order of the class table: peers' class 0 is class id 1.",
            )
        return cam


def find_maps(folder: Path, form: str) -> MapFolder:
    """List the maps of a folder and the folders in it.

    Raises:
        MissingInput: there is no such folder, or no map in it.
        BadInput: two files are named alike.
    """
    suffix = ".npz" if form == "npz" else ".npy"
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob(f"*{suffix}")):
        if path.stem in files:
            raise BadInput(
                f"{printable(path)} and {printable(files[path.stem])} are maps of one image.",
                "Name the folder of one of them with --cams.",
            )
        files[path.stem] = path
    if not files:
        raise MissingInput(
            f"{printable(folder)} holds no {suffix} files.", "Check --cams and --cams-format."
        )
    return MapFolder(folder, form, files)
