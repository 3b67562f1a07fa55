"""What kind of picture, sound, film or packed file the first bytes of a file tell."""

ID3, ID3_HEADER, ID3_SIZE = b"ID3", 10, slice(6, 10)
TAGGED = frozenset({"aac", "flac", "tta"})
"""What has tags of MP3 before it, beside MP3."""

MAGIC = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"fLaC", "flac"),
    (ID3, "mp3"),
    (b"caff", "caf"),
    (b"#!AMR", "amr"),
    (b"FLV\x01", "flv"),
    (b".snd", "au"),
    (b"\x0b\x77", "ac3"),
    (b"wvpk", "wv"),
    (b"TTA1", "tta"),
    (bytes.fromhex("726966662e91cf11a5d628db04c10000"), "w64"),
    (b"\0\0\x01\xba", "mpg"),
    (b"\0\0\x01\xb3", "m2v"),
    (bytes.fromhex("060e2b34020501010d01020101"), "mxf"),
    (b"DKIF", "ivf"),
    (b"Creative Voice File\x1a", "voc"),
    (b"\x1f\x8b\x08", "gz"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\0", "xz"),
)
FORMS = {b"WEBP": "webp", b"WAVE": "wav", b"AVI ": "avi", b"AIFF": "aiff", b"AIFC": "aiff"}
BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "avif"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "heic"),
    **dict.fromkeys((b"M4A ", b"M4B ", b"M4P "), "m4a"),
    b"qt  ": "mov",
}
ANY_PICTURE, AV1_PICTURE = frozenset({b"mif1", b"msf1"}), frozenset({b"avif", b"avis"})
BRANDS_AT, LONGEST_BRANDS = 16, 256
MATROSKA, ASF = b"\x1a\x45\xdf\xa3", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"
ASF_VIDEO = bytes.fromhex("c0ef19bc4d5bcf11a8fd00805f5c442b")
QUICKTIME_PARTS = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
"""What a QuickTime film may begin with; older ones do not say their brand (QuickTime File Format)."""

FIRST_OF_TEXT = 9
"""The least byte that a text begins with. A part of a film begins with its length, 150 MB below this; a longer one has
bytes at once that no text has, and a mail only behind its headers."""

BITMAP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
TS_PACKET, TS_MARK, TS_STAMP = 188, 0x47, 4
"""Packets of a transport stream; cameras and discs write a time stamp before each (M2TS)."""

TAR_MARK = b"ustar"
FRAME_HEADER, SYNC, SYNC_REST = 4, 0xFF, 0xE0
ADTS_MASK, ADTS = 0xF6, 0xF0
LAYERS, LAYERS_2_AND_3 = 0x06, frozenset({0x02, 0x04})
BIT_RATE, NO_BIT_RATES, SAMPLE_RATE = 0xF0, frozenset({0x00, 0xF0}), 0x0C


def media_kind(head: bytes) -> str | None:
    """Return the kind of picture, sound, film or packed file that the first bytes tell, or None."""
    for mark, kind in MAGIC:
        if head.startswith(mark):
            return _tagged(head) if mark == ID3 else kind
    if head[:4] in {b"RIFF", b"RF64", b"FORM"}:
        return FORMS.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    if head[4:8] in QUICKTIME_PARTS and (head[0] < FIRST_OF_TEXT or b"\0" in head[:64]):
        return "mov"
    if head.startswith(b"OggS"):
        return "ogv" if b"\x80theora" in head else "ogg"
    return _media_by_structure(head)


def _by_brand(head: bytes) -> str:
    """Tell by the brands of the first box (ISO 14496-12, 4.3); an AVIF may name its own behind that of any picture."""
    brand = head[8:12]
    end = min(int.from_bytes(head[:4], "big"), LONGEST_BRANDS)
    others = {head[at : at + 4] for at in range(BRANDS_AT, end, 4)}
    if brand in ANY_PICTURE and others & AV1_PICTURE:
        return "avif"
    return BRANDS.get(brand) or ("3gp" if brand.startswith((b"3gp", b"3g2")) else "mp4")


def _media_by_structure(head: bytes) -> str | None:
    if head.startswith(MATROSKA):
        return "webm" if b"webm" in head[:64] else "mkv"
    if head.startswith(ASF):
        return "wmv" if ASF_VIDEO in head else "wma"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in BITMAP_HEADERS:
        return "bmp"
    for stamp in (0, TS_STAMP):
        marks = head[stamp :: TS_PACKET + stamp][:3]
        if len(marks) > 1 and set(marks) == {TS_MARK}:
            return "ts"
    return "tar" if head[257:262] == TAR_MARK else _mpeg_audio(head)


def tag_bytes(head: bytes) -> int:
    """Return how long the tag is that a sound begins with; its size has 7 bits a byte (ID3v2.4, 3.1). 0 without one."""
    size = 0
    for byte in head[ID3_SIZE]:
        size = size << 7 | byte & 0x7F
    return ID3_HEADER + size if head.startswith(ID3) else 0


def _tagged(head: bytes) -> str:
    """Return the kind of sound behind a tag; MP3 where it is not seen."""
    sound = head[tag_bytes(head) :]
    kind = None if sound.startswith(ID3) else media_kind(sound)  # of tags in a row no more than one is looked behind
    return kind if kind in TAGGED else "mp3"


def _mpeg_audio(head: bytes) -> str | None:
    """Tell a frame of ADTS or MPEG audio by its header (ISO 13818-7, 11172-3), or None."""
    if len(head) < FRAME_HEADER or head[0] != SYNC or head[1] & SYNC_REST != SYNC_REST:
        return None
    if head[1] & ADTS_MASK == ADTS:
        return "aac"
    good = head[1] & LAYERS in LAYERS_2_AND_3 and head[2] & BIT_RATE not in NO_BIT_RATES
    return "mp3" if good and head[2] & SAMPLE_RATE != SAMPLE_RATE else None
