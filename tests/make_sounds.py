"""Make the spoken sample of the example anew: `.venv/bin/python tests/make_sounds.py`; it needs espeak-ng."""

from pathlib import Path

import numpy as np

from sounds import nothing, spoken, written

FOLDER = Path(__file__).resolve().parents[1] / "src" / "examples" / "sounds"
TALK = (
    ("en-gb", 30, "The north pump has stopped again. Please call the harbour master in the morning."),
    ("en-us+f3", 60, "I have called him. He will come at nine, and he will bring a new seal for the pump."),
    ("en-gb", 30, "Good. Then the boats can go out in the afternoon."),
)


def main() -> None:
    """Write a talk of two synthetic voices."""
    FOLDER.mkdir(exist_ok=True)
    talk = [part for voice, pitch, text in TALK for part in (nothing(0.8), spoken(text, voice, pitch))]
    whole = np.concatenate([*talk, nothing(0.8)])
    (FOLDER / "talk.mp3").write_bytes(written(whole, "mp3", bit_rate=24_000, title="At the harbour"))


if __name__ == "__main__":
    main()
