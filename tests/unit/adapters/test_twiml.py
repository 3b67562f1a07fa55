"""TwiML does what was meant and nothing else, whatever text it has."""

from collections.abc import Iterator
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from adapters.twiml import (
    GatherOptions,
    fits_inline,
    forward_twiml,
    hangup_twiml,
    message_twiml,
    voicemail_twiml,
)
from processors.errors import InvalidArgument
from processors.spoken_messages import LONGEST_MESSAGE, spoken

ACTION = "https://example.com/api/v1/twilio/gathered?attempt=1&x=%3C"
HELLO = spoken("Hello.")
ANY_TEXT = st.text(st.characters() | st.sampled_from("\ud800\udfff\x00\x0b\x1b\ufffe<>&'\"\r\n"), max_size=300)


def parsed(twiml: str) -> ET.Element:
    """Parse it twice: by expat, and by libxml2, which stops at the first thing that is not well-formed."""
    assert twiml.startswith('<?xml version="1.0" encoding="UTF-8"?>')
    etree.fromstring(twiml.encode(), etree.XMLParser(recover=False, resolve_entities=False))
    return ET.fromstring(twiml.encode())


def verbs(element: ET.Element) -> Iterator[str]:
    for child in element:
        yield child.tag
        yield from verbs(child)


@given(ANY_TEXT, ANY_TEXT)
def test_any_text_gives_a_document_of_the_intended_verbs_that_says_it(text, prompt):
    try:
        message, opt_out = spoken(f"Say {text}"), spoken(f"Press 9 {prompt}")
    except InvalidArgument:
        return
    plain = parsed(message_twiml(message))
    assert list(verbs(plain)) == ["Say", "Hangup"]
    assert plain.findtext("Say") == message.pieces[0][0]
    listening = parsed(message_twiml(message, gather=GatherOptions(ACTION), opt_out_prompt=opt_out, goodbye=HELLO))
    assert list(verbs(listening)) == ["Gather", "Say", "Say", "Say", "Hangup"]
    assert [say.text for say in listening.iter("Say")] == [message.pieces[0][0], opt_out.pieces[0][0], "Hello."]


@pytest.mark.parametrize(
    "unit",
    ["word. ", "&", "</Say><Dial>+1234567890</Dial>", "\x00\x1b</Say>x", "\U0001f600", "你好。", "é", "x", "]]>"],
)
def test_the_longest_message_is_one_document_whole_and_of_less_than_64_kilobytes(unit):
    message = (unit * LONGEST_MESSAGE)[:LONGEST_MESSAGE]
    twiml = message_twiml(spoken(message), gather=GatherOptions(ACTION))
    document = parsed(twiml)
    assert set(verbs(document)) == {"Gather", "Say", "Hangup"}
    said = "".join(say.text or "" for say in document.iter("Say")).replace(" ", "")
    assert said == message.replace(" ", "").replace("\x00", "").replace("\x1b", "")
    assert len(twiml.encode()) < 64_000


def test_ssml_is_said_as_it_is_marked():
    marked = (
        '<p><s>Hello <break time="1s" />you <emphasis level="strong">&lt;there&gt;</emphasis>.</s></p> '
        '<lang xml:lang="de-DE">Hallo</lang> <phoneme alphabet="ipa" ph="a&quot;b&amp;">x</phoneme> '
        '<say-as format="mdy" interpret-as="date">1/2/2030</say-as> <sub alias="World">W</sub> '
        '<prosody pitch="+10%" rate="90%">slow <w role="amazon:VB">read</w></prosody>'
    )
    twiml = message_twiml(spoken(f"<speak>{marked}</speak>", voice="Polly.Joanna"))
    parsed(twiml)
    assert f'<Say voice="Polly.Joanna">{marked}</Say>' in twiml


def test_a_message_alone_is_said_in_its_voice_and_the_call_ends():
    assert message_twiml(spoken("Hello.", voice="man", language="de-DE"), goodbye=HELLO) == (
        '<?xml version="1.0" encoding="UTF-8"?><Response><Say language="de-DE" voice="man">Hello.</Say>'
        '<Say language="en-US" voice="alice">Hello.</Say><Hangup /></Response>'
    )


def test_keys_and_speech_are_told_to_the_given_address_and_silence_ends_the_call():
    document = parsed(message_twiml(HELLO, gather=GatherOptions(ACTION, digits=4, seconds=7), goodbye=spoken("Bye.")))
    assert [child.tag for child in document] == ["Gather", "Say", "Hangup"]
    gather = document[0]
    assert gather.attrib == {
        "input": "dtmf speech",
        "action": ACTION,
        "method": "POST",
        "timeout": "7",
        "numDigits": "4",
        "finishOnKey": "#",
        "actionOnEmptyResult": "false",
        "language": "en-US",
    }
    assert [child.tag for child in gather] == ["Say"]
    assert document[1].text == "Bye."


def test_keys_alone_need_no_language_and_speech_may_have_its_own():
    keys = parsed(message_twiml(HELLO, gather=GatherOptions(ACTION, speech=False)))[0]
    assert keys.get("input") == "dtmf"
    assert keys.get("language") is None
    speech = parsed(message_twiml(HELLO, gather=GatherOptions(ACTION, language="de-AT")))[0]
    assert speech.get("language") == "de-AT"


def test_who_calls_is_said_first_and_how_to_be_called_no_more_right_after_it():
    parts = {"introduction": spoken("We are Example."), "opt_out_prompt": spoken("Press 9 to stop.")}
    document = parsed(message_twiml(HELLO, gather=GatherOptions(ACTION), **parts))
    assert [say.text for say in document.iter("Say")] == ["We are Example.", "Press 9 to stop.", "Hello."]
    without = parsed(message_twiml(HELLO, introduction=spoken("We are Example.")))
    assert [say.text for say in without.iter("Say")] == ["We are Example.", "Hello."]


def test_a_prompt_that_nobody_would_hear_the_answer_to_is_an_error():
    with pytest.raises(InvalidArgument, match="opt_out_prompt: must come with gather"):
        message_twiml(HELLO, opt_out_prompt=spoken("Press 9 to stop."))


@pytest.mark.parametrize(
    ("figures", "why"),
    [
        ({"digits": 0}, "digits: must be 1 to 20; got 0"),
        ({"digits": 21}, "digits: must be 1 to 20"),
        ({"seconds": 0}, "seconds: must be 1 to 60"),
        ({"seconds": 61}, "seconds: must be 1 to 60"),
    ],
    ids=str,
)
def test_what_is_listened_for_has_bounds(figures, why):
    with pytest.raises(InvalidArgument, match=why):
        GatherOptions(ACTION, **figures)


def test_hanging_up_and_greeting_end_the_call():
    assert list(verbs(parsed(hangup_twiml()))) == ["Hangup"]
    assert list(verbs(parsed(message_twiml(HELLO)))) == ["Say", "Hangup"]


def test_a_voicemail_records_for_so_long_and_does_not_begin_again():
    twiml = voicemail_twiml(HELLO, action_url=ACTION, recording_url="https://example.com/r", goodbye=spoken("Bye."))
    document = parsed(twiml)
    assert list(verbs(document)) == ["Say", "Record", "Say", "Hangup"]
    assert document[1].attrib == {
        "action": ACTION,
        "method": "POST",
        "maxLength": "120",
        "playBeep": "true",
        "recordingStatusCallback": "https://example.com/r",
        "recordingStatusCallbackMethod": "POST",
    }
    with pytest.raises(InvalidArgument, match="limit_seconds: must be 1 to 3600; got 3601"):
        voicemail_twiml(HELLO, action_url=ACTION, recording_url=ACTION, limit_seconds=3_601)


def test_a_call_is_forwarded_to_a_number_for_so_long():
    document = parsed(forward_twiml("+1 234 567 8901", greeting=HELLO, caller_id="+12345678902", ring_seconds=20))
    assert list(verbs(document)) == ["Say", "Dial", "Number", "Hangup"]
    assert document[1].attrib == {"callerId": "+12345678902", "timeout": "20", "timeLimit": "3600"}
    assert document[1].findtext("Number") == "+12345678901"
    assert "callerId" not in forward_twiml("+12345678901")


@pytest.mark.parametrize(
    ("number", "figures", "why"),
    [
        ("<Number>", {}, "number: must be a phone number"),
        ("+12345678901", {"caller_id": "anonymous"}, "caller_id: must be a phone number"),
        ("+12345678901", {"ring_seconds": 601}, "ring_seconds: must be 1 to 600; got 601"),
        ("+12345678901", {"limit_seconds": 14_401}, "limit_seconds: must be 1 to 14400"),
    ],
    ids=str,
)
def test_nothing_is_forwarded_to_what_is_no_number_or_without_bounds(number, figures, why):
    with pytest.raises(InvalidArgument, match=why):
        forward_twiml(number, **figures)


def test_who_calls_hears_first_how_not_to_be_called_any_more_and_silence_goes_on():
    prompt = {"gather": GatherOptions(ACTION, speech=False, seconds=2), "opt_out_prompt": spoken("Press 9.")}
    voicemail = parsed(voicemail_twiml(HELLO, action_url=ACTION, recording_url=ACTION, **prompt))
    assert list(verbs(voicemail)) == ["Gather", "Say", "Say", "Record", "Hangup"]
    forward = parsed(forward_twiml("+491701234567", greeting=HELLO, **prompt))
    assert list(verbs(forward)) == ["Gather", "Say", "Say", "Dial", "Number", "Hangup"]
    for gather in (voicemail.find("Gather"), forward.find("Gather")):
        assert gather is not None
        assert [say.text for say in gather.iter("Say")] == ["Hello.", "Press 9."]
        assert (gather.get("action"), gather.get("actionOnEmptyResult"), gather.get("timeout")) == (
            ACTION,
            "false",
            "2",
        )


def test_a_prompt_to_who_calls_that_nobody_would_hear_the_answer_to_is_an_error():
    with pytest.raises(InvalidArgument, match="opt_out_prompt: must come with gather"):
        voicemail_twiml(HELLO, action_url=ACTION, recording_url=ACTION, opt_out_prompt=HELLO)
    with pytest.raises(InvalidArgument, match="opt_out_prompt: must come with gather"):
        forward_twiml("+491701234567", opt_out_prompt=HELLO)


def test_a_call_brings_no_more_than_4000_characters_with_it():
    around = len(message_twiml(HELLO)) - len("Hello.")
    assert fits_inline(message_twiml(spoken("x" * (4_000 - around))))
    assert not fits_inline(message_twiml(spoken("x" * (4_001 - around))))
