"""A Whisper model of a few megabytes whose weights are drawn by chance: its words mean nothing, its files are real."""

from pathlib import Path
from typing import Any

import numpy as np
from ctranslate2.specs import whisper_spec
from faster_whisper.tokenizer import _LANGUAGE_CODES
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

WIDTH, HEADS, MEL_BANDS, SOUND_FRAMES, LONGEST_TEXT, WORDS = 16, 2, 80, 1500, 448, 50_257
LANGUAGES = [f"<|{code}|>" for code in _LANGUAGE_CODES[:99]]
TASKS = ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", *LANGUAGES, *TASKS]
MOMENTS = [f"<|{step * 0.02:.2f}|>" for step in range(1501)]


def make(folder: Path) -> Path:
    """Write the model and its tokenizer, as faster-whisper reads them."""
    chance = np.random.default_rng(6)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *(f"w{number}" for number in range(WORDS - len(letters)))]
    spec = whisper_spec.WhisperSpec(1, HEADS, 1, HEADS)
    _encoder(spec.encoder, chance)
    _decoder(spec.decoder, chance, len(words) + len(SPECIAL) + len(MOMENTS))
    spec.register_vocabulary([*words, *SPECIAL, *MOMENTS])
    spec.config.suppress_ids, spec.config.suppress_ids_begin, spec.config.alignment_heads = [], [], [(0, 0)]
    spec.config.lang_ids = [WORDS + SPECIAL.index(language) for language in LANGUAGES]
    spec.validate()
    spec.optimize()
    spec.save(str(folder))
    tokenizer = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(token, special=True) for token in MOMENTS])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def _encoder(encoder: Any, chance: np.random.Generator) -> None:
    for layer, width in ((encoder.conv1, MEL_BANDS), (encoder.conv2, WIDTH)):
        layer.weight, layer.bias = _drawn(chance, WIDTH, width, 3), np.zeros(WIDTH, np.float32)
    encoder.position_encodings.encodings = _drawn(chance, SOUND_FRAMES, WIDTH)
    _norm(encoder.layer_norm)
    for layer in encoder.layer:
        _attention(layer.self_attention, chance, (3, 1))
        _feed_forward(layer.ffn, chance)


def _decoder(decoder: Any, chance: np.random.Generator, tokens: int) -> None:
    decoder.embeddings.weight = decoder.projection.weight = _drawn(chance, tokens, WIDTH)
    decoder.position_encodings.encodings = _drawn(chance, LONGEST_TEXT, WIDTH)
    decoder.scale_embeddings = False
    _norm(decoder.layer_norm)
    for layer in decoder.layer:
        _attention(layer.self_attention, chance, (3, 1))
        _attention(layer.attention, chance, (1, 2, 1))
        _feed_forward(layer.ffn, chance)


def _attention(attention: Any, chance: np.random.Generator, widths: tuple[int, ...]) -> None:
    _norm(attention.layer_norm)
    for linear, times in zip(attention.linear, widths, strict=True):
        linear.weight, linear.bias = _drawn(chance, times * WIDTH, WIDTH), np.zeros(times * WIDTH, np.float32)


def _feed_forward(layer: Any, chance: np.random.Generator) -> None:
    _norm(layer.layer_norm)
    layer.linear_0.weight, layer.linear_0.bias = _drawn(chance, 2 * WIDTH, WIDTH), np.zeros(2 * WIDTH, np.float32)
    layer.linear_1.weight, layer.linear_1.bias = _drawn(chance, WIDTH, 2 * WIDTH), np.zeros(WIDTH, np.float32)


def _norm(norm: Any) -> None:
    norm.gamma, norm.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)


def _drawn(chance: np.random.Generator, *shape: int) -> np.ndarray:
    return chance.normal(0, 0.02, shape).astype(np.float32)
