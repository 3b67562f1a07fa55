"""What is said is any text made safe, in pieces that a voice takes, with nothing lost and nothing cut in two."""

import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.errors import InvalidArgument
from processors.spoken_messages import LONGEST_MESSAGE, Spoken, spoken
from processors.ssml import Marked, text_of

POLLY, GOOGLE = "Polly.Joanna-Neural", "Google.en-GB-Standard-A"
LIMITS = {"alice": 4_096, POLLY: 3_000, GOOGLE: 5_000}
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"


def texts(said: Spoken) -> list[str]:
    return [text_of(piece) for piece in said.pieces]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Hello", "Hello"),
        ("  Hello,\n\n\tyou \r\n there\u00a0now\u2028! ", "Hello, you there now !"),
        ("Hel\x00lo\x1b[31m\x07", "Hello[31m"),
        ("a\x0bb\x0cc\x85d\x1fe", "a b c d e"),
        ("a \x00 b", "a b"),
        ("\ud800Hi\udfff\ufffe\uffff\U0001fffe\ufdd0", "Hi"),
        ("</Say><Dial>+1234567890</Dial><Say>", "</Say><Dial>+1234567890</Dial><Say>"),
        ("Tom & Jerry &amp; &#0; ]]> <!-- -->", "Tom & Jerry &amp; &#0; ]]> <!-- -->"),
        ("<speaker> is on", "<speaker> is on"),
        ("Grüße, 你好, " + FAMILY, "Grüße, 你好, " + FAMILY),
    ],
)
def test_any_text_is_said_as_it_is_without_what_cannot_be_said(message, said):
    assert spoken(message) == Spoken("alice", "en-US", ((said,),))


@pytest.mark.parametrize("message", ["", "   ", "\n\t\u00a0\u3000", "\x00\x07", "\ud800", "\u200b\ufeff", "\u2028"])
def test_nothing_to_say_is_an_error(message):
    with pytest.raises(InvalidArgument, match="message: must have something to say; got an empty text"):
        spoken(message)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (None, "message: must be a text; got NoneType"),
        (5, "message: must be a text; got int"),
        (b"Hi", "message: must be a text; got bytes"),
        ("x" * 10_001, "message: must have at most 10000 characters; got 10001"),
    ],
)
def test_what_is_no_message_is_an_error(message, why):
    with pytest.raises(InvalidArgument, match=why):
        spoken(message)


@pytest.mark.parametrize(
    ("voice", "language", "name", "tongue"),
    [
        (None, None, "alice", "en-US"),
        ("man", "de-DE", "man", "de-DE"),
        ("woman", "arb", "woman", "arb"),
        ("Polly.Joanna", None, "Polly.Joanna", None),
        ("Polly.Vicki-Neural", "de-DE", "Polly.Vicki-Neural", "de-DE"),
        ("Polly.Ruth-Generative", None, "Polly.Ruth-Generative", None),
        ("Google.de-DE-Wavenet-F", None, "Google.de-DE-Wavenet-F", "de-DE"),
        ("Google.cmn-CN-Standard-A", "cmn-CN", "Google.cmn-CN-Standard-A", "cmn-CN"),
        ("Google.en-US-Chirp3-HD-Aoede", None, "Google.en-US-Chirp3-HD-Aoede", "en-US"),
    ],
)
def test_a_voice_speaks_its_own_language_or_the_given_one(voice, language, name, tongue):
    said = spoken("Hello", voice=voice, language=language)
    assert (said.voice, said.language) == (name, tongue)


@pytest.mark.parametrize(
    ("voice", "language", "why"),
    [
        ("bob", None, "voice: must be alice, man, woman, a voice of Polly like .*; got 'bob'"),
        ("", None, "voice: must be"),
        ("Polly.", None, "voice: must be"),
        ("Polly.joanna", None, "voice: must be"),
        ('Polly.Joanna" loop="0', None, "voice: must be"),
        ("Polly.Joanna\n", None, "voice: must be"),
        ("Google.en-GB", None, "voice: must be"),
        (5, None, "voice: must be .*; got 5"),
        (["alice"], None, "voice: must be"),
        (None, "english", "language: must be of a form like en-US.*; got 'english'"),
        (None, "en_US", "language: must be"),
        (None, "", "language: must be"),
        (None, 5, "language: must be"),
        ("Google.de-DE-Wavenet-F", "en-US", "language: must be de-DE, which is what Google.de-DE-Wavenet-F speaks"),
    ],
)
def test_a_voice_or_a_language_that_is_none_is_an_error_that_says_what_is_accepted(voice, language, why):
    with pytest.raises(InvalidArgument, match=why):
        spoken("Hello", voice=voice, language=language)


def test_a_long_text_is_cut_after_sentences():
    sentence = "This is a sentence of some words. "
    said = texts(spoken(sentence * 200))
    assert len(said) > 1
    assert all(piece.endswith("words.") for piece in said)
    assert " ".join(said) == (sentence * 200).strip()


def test_a_long_sentence_is_cut_between_words():
    said = texts(spoken("word " * 1_500))
    assert len(said) > 1
    assert {word for piece in said for word in piece.split(" ")} == {"word"}
    assert " ".join(said) == ("word " * 1_500).strip()


def test_a_long_word_is_cut_between_what_is_seen_as_characters():
    said = texts(spoken(FAMILY * 500))
    assert len(said) > 1
    assert all(re.fullmatch(f"({FAMILY})+", piece) for piece in said)
    accents = texts(spoken("e\u0301" * 3_000))
    assert len(accents) > 1
    assert all(re.fullmatch("(e\u0301)+", piece) for piece in accents)


def test_what_is_seen_as_one_character_and_is_too_long_is_cut_all_the_same():
    said = texts(spoken("e" + "\u0301" * 5_000))
    assert "".join(said) == "e" + "\u0301" * 5_000


ANY_TEXT = st.text(st.characters() | st.sampled_from("\ud800\udfff\x00\x1b<>&"), max_size=200)
LONG_TEXT = st.builds(lambda text, times: (text * times)[:LONGEST_MESSAGE], ANY_TEXT, st.integers(1, 10_000))


@given(LONG_TEXT, st.sampled_from([*LIMITS]))
def test_every_piece_fits_and_together_they_are_the_message(message, voice):
    if message.lstrip().startswith("<speak"):
        return
    try:
        said = texts(spoken(message, voice=voice))
    except InvalidArgument:
        return
    for piece in said:
        assert len(piece.encode()) <= LIMITS[voice]
        assert len(quote(piece, safe="")) <= 4_500
        assert piece.strip() == piece != ""
    kept = [character for character in message if not character.isspace()]
    spoken_of = "".join(said).replace(" ", "")
    iterator = iter(kept)
    assert all(character in iterator for character in spoken_of)  # in their order
    left_out = len(kept) - len(spoken_of)
    assert left_out == sum(map(is_unspeakable, kept))


def is_unspeakable(character: str) -> bool:
    code = ord(character)
    control = code < 0x20 or 0x7F <= code < 0xA0
    return control or 0xD800 <= code < 0xE000 or 0xFDD0 <= code < 0xFDF0 or code & 0xFFFE == 0xFFFE


def test_ssml_keeps_how_a_text_is_said():
    said = spoken(
        '<speak version="1.1" xmlns="http://www.w3.org/2001/10/synthesis">Hello <!-- you -->there\n\n'
        '<break time="1.5s"/>'
        '<prosody rate="90%" volume="+6dB">slow <emphasis level="strong">and</emphasis></prosody> &lt;ok&gt; '
        '<say-as interpret-as="telephone">5550100</say-as></speak>',
        voice=POLLY,
    )
    slow = Marked(
        "prosody",
        (("rate", "90%"), ("volume", "+6dB")),
        ("slow ", Marked("emphasis", (("level", "strong"),), ("and",))),
    )
    number = Marked("say-as", (("interpret-as", "telephone"),), ("5550100",))
    assert said.pieces == (("Hello there ", Marked("break", (("time", "1.5s"),)), slow, " <ok> ", number),)


@pytest.mark.parametrize(
    ("inside", "why"),
    [
        ("<Dial>+1234567890</Dial>", "got <Dial> in <speak>"),
        ("<audio src='https://example.com/a.mp3'/>", "got <audio> in <speak>"),
        ("<Say>x</Say>", "got <Say>"),
        ("<speak>x</speak>", "got <speak> in <speak>"),
        ("<s><p>x</p></s>", "got <p> in <s>"),
        ("<sub alias='x'><break/></sub>", "may have text alone there; got <break> in <sub>"),
        ("<break>x</break>", "got text in <break>"),
        ("<break time='11s'/>", "as time of <break> .*; got '11s'"),
        ("<break time='10001ms'/>", "as time of <break> .*; got '10001ms'"),
        ("<break onload='x'/>", "may have strength, time; got onload of <break>"),
        ("<p class='x'>x</p>", "no attributes there; got class of <p>"),
        ("<prosody rate='fastest'>x</prosody>", "as rate of <prosody> x-slow, slow, .*; got 'fastest'"),
        ("<prosody volume='+9999dB'>x</prosody>", "as volume of <prosody>"),
        ("<emphasis level='x'>x</emphasis>", "strong, moderate, reduced, none; got 'x'"),
        ("<say-as>x</say-as>", "got <say-as> without interpret-as"),
        ("<sub>x</sub>", "got <sub> without alias"),
        ("<phoneme alphabet='ipa'>x</phoneme>", "got <phoneme> without ph"),
        ("<lang>x</lang>", "got <lang> without xml:lang"),
        ("<lang xml:lang='English'>x</lang>", "a language like en-US; got 'English'"),
        ("<w role='noun'>x</w>", "amazon:VB; got 'noun'"),
        ("<w>x</w>", "got <w> without role"),
        (f"<sub alias='{'x' * 201}'>x</sub>", "1 to 200 characters"),
        ("<?php x?>", "got a document type or a processing instruction"),
        ("<!DOCTYPE a>", "must be well-formed"),
        ("&lol;", "must be well-formed SSML; .*undefined entity"),
        ("&#0;", "must be well-formed"),
        ("&#x1b;", "must be well-formed"),
        ("Tom & Jerry", "must be well-formed"),
        ("<p>x", "must be well-formed"),
        ("</speak><speak>x", "must be well-formed"),
        ("<lang xml:lang='en-US'>" * 11 + "x" + "</lang>" * 11, "at most 1000 elements, 10 deep; got more, at <lang>"),
        ("<break/>" * 1_001 + "x", "at most 1000 elements"),
        ("<prosody rate='90%'>" + "word " * 1_000 + "</prosody>", "<prosody> holds more than is said at once"),
        ("", "something to say"),
        ("<break time='1s'/> ", "something to say"),
    ],
)
def test_ssml_that_is_not_allowed_is_an_error_that_names_it(inside, why):
    with pytest.raises(InvalidArgument, match=why) as caught:
        spoken(f"<speak>{inside}</speak>", voice=POLLY)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_entities_are_not_expanded():
    laughs = "".join(f'<!ENTITY l{n} "&l{n - 1};&l{n - 1};">' for n in range(1, 30))
    for document in (
        f'<speak><!DOCTYPE speak [<!ENTITY l0 "ha">{laughs}]>&l29;</speak>',
        '<speak>&x;<!DOCTYPE speak [<!ENTITY x SYSTEM "file:///etc/passwd">]></speak>',
    ):
        with pytest.raises(InvalidArgument, match="well-formed"):
            spoken(document, voice=POLLY)
    before = f'<!DOCTYPE speak [<!ENTITY l0 "ha">{laughs}]><speak>&l29;</speak>'
    assert texts(spoken(before, voice=POLLY)) == [before]  # it begins with no <speak>: it is said as it is


@pytest.mark.parametrize("voice", [None, "alice", "man", "woman"])
def test_ssml_needs_a_voice_that_knows_it(voice):
    with pytest.raises(InvalidArgument, match="voice: must be one of Polly or Google for SSML; got"):
        spoken("<speak>Hello</speak>", voice=voice)


def test_long_ssml_is_cut_between_its_elements_and_inside_its_texts():
    paragraph = "<p>" + "Some words of a paragraph. " * 20 + "</p>"
    said = spoken(f"<speak>{paragraph * 10}{'Some more words. ' * 200}</speak>", voice=POLLY)
    assert len(said.pieces) > 2
    for piece in said.pieces:
        assert len(text_of(piece).encode()) <= 3_000
        assert sum(isinstance(part, str) for part in piece) <= 1
    assert sum(text.count("paragraph") for text in texts(said)) == 200
    assert sum(text.count("more words.") for text in texts(said)) == 200


@given(st.text(max_size=300))
def test_any_document_is_read_or_refused(inside):
    for document in (f"<speak>{inside}</speak>", f"<speak {inside}>x</speak>", f"<speak><{inside}/>x</speak>"):
        try:
            outcome = spoken(document, voice=GOOGLE).pieces
        except InvalidArgument as error:
            outcome = str(error)
        assert outcome
        assert not isinstance(outcome, str) or outcome.startswith("message: ")
