"""FFmpeg's reader for each kind of sound and film: none is guessed, lest a file become a playlist that names others."""

DEMUXERS = {
    "wav": "wav",
    "mp3": "mp3",
    "flac": "flac",
    "ogg": "ogg",
    "m4a": "mov",
    "aac": "aac",
    "aiff": "aiff",
    "caf": "caf",
    "amr": "amr",
    "wma": "asf",
    "au": "au",
    "ac3": "ac3",
    "wv": "wv",
    "tta": "tta",
    "w64": "w64",
    "voc": "voc",
    "mp4": "mov",
    "mov": "mov",
    "3gp": "mov",
    "mkv": "matroska",
    "webm": "matroska",
    "avi": "avi",
    "ogv": "ogg",
    "ts": "mpegts",
    "flv": "flv",
    "wmv": "asf",
    "mpg": "mpeg",
    "m2v": "mpegvideo",
    "mxf": "mxf",
    "ivf": "ivf",
}

ONLY_THIS_FILE = {"protocol_whitelist": "file"}
"""FFmpeg's options for opening one: whatever the file names, no address is followed."""
