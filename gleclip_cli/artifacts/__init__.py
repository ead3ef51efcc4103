"""Every format of a run, and the only package that knows them.

    <run>/                                 `RunDir`: every path; `safe_name` quotes ids
      prepare_data/                        `PreparedData`, read by `load_prepared`
        dataset.json                       dataset, vocabulary, root, images per split
        lists/<split>.txt                  one image id per line, sorted; % and line ends as %XX
        labels/<split>.json                id -> class ids (1-based; 0 is background)
        images/<split>.json                id -> `ImageRecord`: image, mask, size [H, W], sha256
      train_cam/                           checkpoint as below: GLE-CLIP without CLIP; state/ holds
                                           also teacher-<round>/<id>.png, like pseudo masks
      gen_cam/<split>/cams/<ab>/<id>.npz   `Cam`: scores float16 (k, h, w) in [0, 1] on their own
                                           grid; class_ids int64 (k,); size int64 (2,) = H, W;
                                           <ab>: two hexadecimal digits of the id's SHA-256
      refine/<split>/pseudo_masks/<id>.png uint8 palette PNG, 0 background, no ignored pixels;
                                           beyond 254 classes uint16 grey PNG
      refine/<split>/confidence/<id>.png   uint8 grey PNG, round(255 p)
      refine/<split>/statistics.json       pixels, confidence and tags without a pixel, by class and
                                           by image; masks: digest of the manifest
      train_seg/<name>/                    checkpoint.safetensors; checkpoint.json: SHA-256, meta;
                                           state/: training state, while a training is unfinished,
                                           and pseudo_masks-<n>/, confidence-<n>/ as of refine,
                                           refreshed-<n>.json: step, pixels, how many changed
      evaluate/<what>-<split>/             `Scores`: scores.json, confusion.npz (rows: truth);
                                           `ImageCounts`: per_image.csv, a row per image (truth:
                                           CRC-32 of the true mask), and per_class.csv, a row per
                                           class of an image; pred_masks/<id>.png like pseudo masks
      report.html                          the page that `report` writes; read by people alone
      cache/texts/<key>.safetensors        `texts` (k, e): L2-normalised embeddings; key: SHA-256 of
                                           what they were made from; its own SHA-256 in the header

Every output folder of a stage, opened by `open_stage` as a `Stage`, also holds:

    settings.json          stage key and what it is made of; written first, and removed if an error
                           ends the stage before anything was made
    index.<i>-of-<n>.jsonl one `Entry` per finished item: id, file -> SHA-256, input: hash of what
                           it was made from, facts: counts; id "": files of the output as a whole;
                           the `Index` of n shards becomes one file when the last has finished
    failed.jsonl           one object per failed item: id, reason, remedy, path; written by `Faults`
    log.jsonl              one object per event, written by the `Journal`
    manifest.json          `Manifest`: provenance, counts, digest of all content; written last

A folder of predictions, `OutDir`, is such an output, too, with pictures in folders as they lay:

    masks/<id>.png, overlays/<id>.jpg      label images; pictures under the colours of their classes
    areas/<id>.json                        image, size [H, W], tags; class -> pixels, share of the
                                           image, mean confidence
    areas.json                             the same of all images, and by class, with its label
                                           and colour

Stage key = SHA-256 of format version, stage, configuration, weights and the keys of the inputs.
JSON is plain ASCII; .npz are uncompressed, without pickle and without clock; files appear whole,
by a rename from `.<name>.tmp-<pid>`; `FolderLock` (.lock*) keeps a second writer out. A `Photo` is
a decoded picture of the user, with the SHA-256 and the oddities of its file. `<runs>/.last` names
the run used last.
"""
