"""Damage that decoders do not tell of, found in the bytes of PNG and JPEG files."""

from zlib_ng import zlib_ng

END_OF_JPEG = b"\xff\xd9"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_START_OF_JPEG = b"\xff\xd8"
_START_OF_SCAN = 0xDA
# Of the markers C0 to CF these three begin no frame: DHT, JPG, DAC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Within a scan: a stuffed byte, fill bytes, restart markers.
_NO_SEGMENT = frozenset({0x00, 0xFF, *range(0xD0, 0xD8)})
_COEFFICIENTS = 64


def check_png(data: bytes) -> None:
    """Compare the CRC of every chunk, if this is a PNG; Pillow skips those of the pixels.

    Raises:
        ValueError: a CRC is wrong, or chunks are missing.
    """
    if not data.startswith(PNG_SIGNATURE):
        return
    position, kind = len(PNG_SIGNATURE), b""
    while kind != b"IEND":
        length = int.from_bytes(data[position : position + 4], "big")
        kind, end = data[position + 4 : position + 8], position + 8 + length
        crc = data[end : end + 4]
        if len(crc) < 4:
            raise ValueError(f"truncated PNG: it breaks off after {len(data)} bytes")
        if zlib_ng.crc32(data[position + 4 : end]) != int.from_bytes(crc, "big"):
            raise ValueError(f"damaged PNG: wrong CRC of the chunk at byte {position}")
        position = end + 4


def breaks_off(data: bytes) -> bool:
    """Whether this is a JPEG that does not end as one."""
    return data.startswith(_START_OF_JPEG) and not data.rstrip(b"\0").endswith(END_OF_JPEG)


def has_all_scans(data: bytes) -> bool:
    """Whether the scans of a JPEG bring every coefficient of every component to its last bit.

    A progressive JPEG that breaks off between two scans decodes to a coarser picture.

    Raises:
        IndexError: it breaks off within a header.
    """
    missing: set[tuple[int, int]] = set()
    position = data.find(b"\xff", len(_START_OF_JPEG))
    while 0 <= position < len(data) - 1:
        kind = data[position + 1]
        if kind in _NO_SEGMENT:
            position = data.find(b"\xff", position + (1 if kind == 0xFF else 2))
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        body = data[position + 4 : position + 2 + length]
        if kind in _FRAMES:
            components = [body[6 + 3 * index] for index in range(body[5])]
            missing = {(c, k) for c in components for k in range(_COEFFICIENTS)}
        elif kind == _START_OF_SCAN:
            after = 1 + 2 * body[0]
            components, (first, last, bits) = list(body[1:after:2]), body[after : after + 3]
            if bits & 0x0F == 0:  # no bit is left for a later scan
                missing -= {(c, k) for c in components for k in range(first, last + 1)}
        position = data.find(b"\xff", position + 2 + length)
    return not missing
