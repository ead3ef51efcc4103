"""Compiled counting of pixels: each function walks once over the masks of an image.

Masks hold class ids below C, and one value to be ignored. The functions that see them first return
whether that is so.
"""

from typing import Any

from gleclip_cli.compiled import kernel


@kernel
def count_pairs(gt: Any, pred: Any, gt_ignored: Any, pred_ignored: Any, table: Any) -> Any:
    """Add flat masks to `table` (C + 1, C + 1); what is ignored counts as class C."""
    classes, clean = table.shape[0] - 1, True
    for i in range(gt.size):
        true, made = gt[i], pred[i]
        if true >= classes:
            clean &= true == gt_ignored
            true = classes
        if made >= classes:
            clean &= made == pred_ignored
            made = classes
        table[true, made] += 1
    return clean


@kernel
def cut(
    gt: Any, pred: Any, gt_ignored: Any, pred_ignored: Any, classes: Any, true: Any, made: Any
) -> Any:
    """Fill `true` and `made` (flat, as `gt`): ignored is class C, in both where the truth is."""
    clean = True
    for i in range(gt.size):
        one, other = gt[i], pred[i]
        if one >= classes:
            clean &= one == gt_ignored
            one = classes
        if other >= classes:
            clean &= other == pred_ignored
            other = classes
        true[i], made[i] = one, classes if one == classes else other
    return clean


@kernel
def count_bands(true: Any, made: Any, inner: Any, width: Any, counts: Any) -> None:
    """Add to `counts` (3, C + 1) the pixels in the bands of true, made and both masks (H, W).

    `inner` (4, H, W): lowest and highest label around each pixel of `true`, then of `made`; within
    `width` pixels of the image's end every pixel is in a band.
    """
    height, columns = true.shape
    for y in range(height):
        border = y < width or y >= height - width
        for x in range(columns):
            at_end = border or x < width or x >= columns - width
            in_true = at_end or inner[0, y, x] != inner[1, y, x]
            in_made = at_end or inner[2, y, x] != inner[3, y, x]
            one, other = true[y, x], made[y, x]
            counts[0, one] += in_true
            counts[1, other] += in_made
            counts[2, one] += in_true and in_made and one == other


@kernel
def take_higher(scores: Any, place: Any, number: Any, highest: Any) -> None:
    """Where flat `scores` exceed `highest`, take them over and note `number` in `place`."""
    for i in range(scores.size):
        better = scores[i] > highest[i]
        highest[i] = scores[i] if better else highest[i]
        place[i] = number if better else place[i]


@kernel
def count_levels(
    gt: Any, ignored: Any, place: Any, highest: Any, thresholds: Any, table: Any
) -> Any:
    """Add flat masks to `table` (C, k, t + 1) by class, place and number of thresholds exceeded.

    `thresholds` (t,) rise in even steps from 0 to 1, but for rounding.
    """
    classes, clean, most = table.shape[0], True, thresholds.size
    for i in range(gt.size):
        true, score = gt[i], highest[i]
        if true >= classes:
            clean &= true == ignored
            continue
        level = min(max(int(score * (most - 1)), 0), most)
        while level > 0 and thresholds[level - 1] >= score:
            level -= 1
        while level < most and thresholds[level] < score:
            level += 1
        table[true, place[i], level] += 1
    return clean
