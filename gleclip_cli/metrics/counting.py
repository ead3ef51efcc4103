"""Compiled counting of pixels: each function walks once over the masks of an image.

Neighbouring pixels are mostly alike, so masks are compared eight bytes at a time, and what repeats
is counted once. Functions that return something tell whether masks hold class ids below C, and one
value to be ignored, alone.
"""

from typing import Any

import numpy as np

from gleclip_cli.artifacts.labels import Labels
from gleclip_cli.compiled import kernel


def in_words(*masks: Labels) -> list[Any]:
    """Return masks of one size as they are counted: each flat, and its first bytes by eight.

    Masks of different types have no words: then they are counted pixel by pixel.
    """
    flat = [np.ascontiguousarray(mask).ravel() for mask in masks]
    per_word = (
        8 // flat[0].itemsize if len({mask.dtype for mask in flat}) == 1 else flat[0].size + 1
    )
    whole = flat[0].size // per_word * per_word
    words = [mask[:whole].view(np.uint64) for mask in flat]
    if not all(word.flags.aligned for word in words):
        return in_words(*(mask.copy() for mask in flat))
    return list(zip(flat, words, strict=True))


@kernel
def _alike(word: Any, itemsize: Any) -> Any:
    """Return whether all pixels of a word are one value."""
    if itemsize == 1:
        return word == (word & np.uint64(0xFF)) * np.uint64(0x0101010101010101)
    return word == (word & np.uint64(0xFFFF)) * np.uint64(0x0001000100010001)


@kernel
def _add_pair(table: Any, true: Any, made: Any, count: Any, ignored: Any) -> Any:
    classes, clean = table.shape[0] - 1, True
    if true >= classes:
        clean &= true == ignored[0]
        true = classes
    if made >= classes:
        clean &= made == ignored[1]
        made = classes
    table[true, made] += count
    return clean


@kernel
def count_pairs(gt: Any, pred: Any, ignored: Any, table: Any) -> Any:
    """Add masks `in_words` to `table` (C + 1, C + 1); what is ignored counts as class C.

    `ignored`: its values in both.
    """
    (true, true_words), (made, made_words) = gt, pred
    size, start, clean = true_words.size, 0, True
    per_word = 8 // true.itemsize
    for i in range(1, size + 1):
        if i == size or true_words[i] != true_words[start] or made_words[i] != made_words[start]:
            one = _alike(true_words[start], true.itemsize)
            one &= _alike(made_words[start], true.itemsize)
            first, count = start * per_word, (i - start) * (per_word if one else 1)
            for j in range(first, first + (1 if one else per_word)):
                clean &= _add_pair(table, true[j], made[j], count, ignored)
            start = i
    for j in range(size * per_word, true.size):
        clean &= _add_pair(table, true[j], made[j], 1, ignored)
    return clean


@kernel
def count_bands(gt: Any, pred: Any, bands: Any, table: Any) -> None:
    """Add masks `in_words`, of values up to C, to `table` (4, C + 1, C + 1) by band and labels.

    `bands`: 1 in the band of the first, 2 of the second, 3 of both; what is in none is left out.
    """
    (true, true_words), (made, made_words), (band, band_words) = gt, pred, bands
    size, start = true_words.size, 0
    per_word = 8 // true.itemsize
    for i in range(1, size + 1):
        if (
            i == size
            or band_words[i] != band_words[start]
            or (
                band_words[i] != 0
                and (true_words[i] != true_words[start] or made_words[i] != made_words[start])
            )
        ):
            if band_words[start] != 0:
                one = _alike(true_words[start], true.itemsize)
                one &= _alike(made_words[start], true.itemsize)
                one &= _alike(band_words[start], true.itemsize)
                first, count = start * per_word, (i - start) * (per_word if one else 1)
                for j in range(first, first + (1 if one else per_word)):
                    table[band[j], true[j], made[j]] += count
            start = i
    for j in range(size * per_word, true.size):
        table[band[j], true[j], made[j]] += 1


@kernel
def cut(gt: Any, pred: Any, last: Any, true: Any, made: Any) -> None:
    """Fill `true` and `made` with flat masks of values up to `last`, in both where `gt` has it."""
    for i in range(gt.size):
        true[i] = min(gt[i], last)
        made[i] = last if gt[i] >= last else min(pred[i], last)


@kernel
def mark_mixed(true: Any, made: Any, mixed: Any) -> None:
    """Fill `mixed` (H - 1, W - 1): squares of four pixels that differ, 1 in `true`, 2 in `made`."""
    for y in range(mixed.shape[0]):
        for x in range(mixed.shape[1]):
            one, other = true[y, x], made[y, x]
            in_true = (
                (one != true[y, x + 1]) | (one != true[y + 1, x]) | (one != true[y + 1, x + 1])
            )
            in_made = (
                (other != made[y, x + 1])
                | (other != made[y + 1, x])
                | (other != made[y + 1, x + 1])
            )
            mixed[y, x] = np.uint8(in_true) | (np.uint8(in_made) << np.uint8(1))


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
