"""The one core: frozen CLIP, texts, and the parts that learn; knows no files of a run, no devices.

Axes, everywhere: `b` batch, `k` classes, `c` channels (`c` texts in similarity matrices),
`e` embedding, `h w` patch grid, `n` patches (h * w, row by row), `t` tokens (CLS, then patches),
`H W` image, `q` heads, `l` layers, `p` (image, class) pairs.
"""
