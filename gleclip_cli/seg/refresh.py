"""The pseudo masks of a lesson made anew, on disk, where a cut training finds them again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gleclip_cli.artifacts.json_files import read_json, write_json
from gleclip_cli.artifacts.maps import load_label_image, save_confidence, save_label_image
from gleclip_cli.config import GRID_STEPS, PIXEL_STEPS, RefineConfig
from gleclip_cli.datasets.vocabulary import load_vocabulary
from gleclip_cli.parallel.processes import Processes
from gleclip_cli.progress import SILENT, Progress
from gleclip_cli.refine.decide import Decision
from gleclip_cli.seg.lesson import Lesson
from gleclip_cli.seg.relabel import Relabeller
from gleclip_cli.training.batches import OnBad
from gleclip_cli.training.teaching import teach

_SETTINGS = ("par_iterations", "crf_preset", "crf_iterations", "crf_backend")


def steps_on_pixels(refined: Mapping[str, Any]) -> tuple[RefineConfig, list[str]]:
    """Return what pseudo masks went through on pixels, and the steps that are left out.

    Those move maps on their grid; the network's own are spread instead. `refined`: the
    configuration in the masks' manifest.
    """
    default = RefineConfig()
    steps = refined.get("steps", default.steps)
    settings = {name: refined[name] for name in _SETTINGS if name in refined}
    own = tuple(step for step in steps if step in PIXEL_STEPS)
    return replace(default, steps=own, **settings), [step for step in steps if step in GRID_STEPS]


@dataclass(frozen=True)
class Refresh:
    """Makes the pseudo masks of `lesson` anew; the processes share the images."""

    lesson: Lesson
    relabel: Relabeller
    image_ids: Sequence[str]
    processes: Processes
    on_bad: OnBad
    log: Callable[[Mapping[str, Any]], None]
    progress: Progress = SILENT

    def __call__(self, number: int, step: int) -> None:
        """Make the masks that are not there yet, for the nth time, after so many steps.

        An image whose last mask cannot be read gets no new one. What changed is written beside.
        """
        old, new = (replace(self.lesson, refreshed=n) for n in (number - 1, number))
        tags = new.prepared.labels(new.split)
        palette = load_vocabulary(new.prepared.vocabulary).palette

        def done(image_id: str) -> bool:
            return new.pseudo_mask_path(image_id).exists()

        def label(image_id: str) -> Decision:
            image, *_ = old(image_id)
            return self.relabel(image, tags[image_id])

        def save(image_id: str, decision: Decision) -> None:
            save_confidence(new.confidence_path(image_id), decision.confidence)
            save_label_image(new.pseudo_mask_path(image_id), decision.labels, palette)

        teach(
            self.image_ids, label, save, done=done,
            device=self.relabel.network.clip.mean.device, processes=self.processes,
            on_bad=self.on_bad, progress=self.progress, task=f"refresh {number}",
        )  # fmt: skip
        if self.processes.main:
            made = list(filter(done, self.image_ids))
            facts = {"step": step, "images": len(made), "changed": _changed(old, new, made)}
            write_json(new.run.refreshed(new.name, number), facts)
            self.log({"event": "refresh", **facts})
            share = f"{facts['changed']:.1%}"
            self.progress.say(f"Step {step}: pseudo masks made anew; {share} of pixels changed.")

    def facts(self, number: int) -> dict[str, Any]:
        """Return step, images, and the share of their pixels that the nth refresh has changed."""
        return read_json(self.lesson.run.refreshed(self.lesson.name, number))


def _changed(old: Lesson, new: Lesson, image_ids: Sequence[str]) -> float:
    changed = pixels = 0
    for image_id in image_ids:
        before, after = (
            load_label_image(lesson.pseudo_mask_path(image_id), new.num_classes)
            for lesson in (old, new)
        )
        changed += int((before != after).sum())
        pixels += after.size
    return round(changed / max(1, pixels), 4)
