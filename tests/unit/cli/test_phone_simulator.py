"""`csai phone-simulator`: what it prints, how it ends, and where it is refused."""

import os
import re
import signal
import subprocess
import sys

import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client
from typer.testing import CliRunner

from adapters.phone_simulator.callees import MAGIC
from adapters.phone_simulator.refusals import REFUSALS
from call_webhooks import Loopback
from cli import main
from cli.commands import phone_simulator
from config.settings import settings
from processors.errors import ConfigurationError

ACCOUNT = "AC" + "a" * 32


@pytest.mark.parametrize(
    "base", ["https://api.twilio.com", "http://api.twilio.com:4010", "https://127.0.0.1.example.com", ""]
)
def test_it_is_refused_beside_a_real_account_with_the_settings_to_change(base):
    with pytest.raises(ConfigurationError, match=r"TWILIO_ACCOUNT_SID is set, and TWILIO_BASE_URL .* unset"):
        phone_simulator.refuse_beside_real_account(ACCOUNT, base)


@pytest.mark.parametrize("base", ["http://127.0.0.1:4010", "http://localhost:4010", "http://[::1]:4010"])
def test_it_runs_where_calls_go_to_this_machine_or_nowhere(base):
    phone_simulator.refuse_beside_real_account(ACCOUNT, base)
    phone_simulator.refuse_beside_real_account(None, "https://api.twilio.com")


def test_the_command_refuses_before_it_listens(monkeypatch, capsys):
    monkeypatch.setattr(settings, "twilio_account_sid", ACCOUNT)
    monkeypatch.setattr(phone_simulator, "TwilioSimulator", None)  # it would not get as far as this
    monkeypatch.setattr(sys, "argv", ["csai", "phone-simulator"])
    monkeypatch.setattr(main, "root", main.typer.Typer(name="csai"))
    with pytest.raises(SystemExit) as ended:
        main.run()
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (1, "")
    assert said.err.startswith("The phone simulator does not start beside a real account")
    assert said.err.count("\n") == 1


def test_the_help_tells_every_number_and_code():
    app = main.typer.Typer()
    app.callback()(lambda: None)
    phone_simulator.register(app)
    told = CliRunner().invoke(app, ["phone-simulator", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output
    assert all(f"…{digits}" in told for digits in MAGIC)
    assert all(str(code) in told for code in REFUSALS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_the_settings_tells_each_step_and_ends_when_told_to(number):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TWILIO")}
    words = ["phone-simulator", "--port", "0", "--speed", "200", "--calls-per-second", "50", "--seed", "7"]
    with subprocess.Popen(
        [sys.executable, "-c", "from cli.main import run; run()", *words],
        stdout=subprocess.PIPE,
        env=environment | {"PYTHONPATH": "src"},
        text=True,
    ) as process:
        try:
            lines = [process.stdout.readline().strip() for _ in range(5)]
            assert lines[0].startswith("# Seed 7.")
            given = dict(line.split("=", 1) for line in lines[1:])
            assert set(given) == {
                "TWILIO_ACCOUNT_SID",
                "TWILIO_AUTH_TOKEN",
                "TWILIO_PHONE_NUMBER",
                "TWILIO_BASE_URL",
            }
            assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+", given["TWILIO_BASE_URL"])
            client = Client(
                given["TWILIO_ACCOUNT_SID"],
                given["TWILIO_AUTH_TOKEN"],
                http_client=Loopback(given["TWILIO_BASE_URL"], 10),
            )
            call = client.calls.create(
                to="+491701234599", from_=given["TWILIO_PHONE_NUMBER"], twiml="<Response><Say>Hello</Say></Response>"
            )
            steps = []
            while not steps or not steps[-1].endswith(" completed"):
                steps.append(process.stdout.readline().strip())
                assert steps[-1]
            assert len(steps) == 6
            assert all(call.sid in step and "…99" in step and "4917" not in step for step in steps)
        finally:
            process.send_signal(number)
            code = process.wait(30)
    assert code == 0


def test_it_starts_again_with_the_account_that_the_settings_have_of_it_and_shows_no_token():
    token = "5" * 32
    own = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": token, "TWILIO_BASE_URL": "http://127.0.0.1:4010"}
    with subprocess.Popen(
        [sys.executable, "-c", "from cli.main import run; run()", "phone-simulator", "--port", "0"],
        stdout=subprocess.PIPE,
        env=os.environ | own | {"PYTHONPATH": "src"},
        text=True,
    ) as process:
        try:
            said = process.stdout.readline()
            base = re.search(r"http://127\.0\.0\.1:[0-9]+", said)[0]
            assert Client(ACCOUNT, token, http_client=Loopback(base, 10)).calls.list() == []
        finally:
            process.send_signal(signal.SIGTERM)
            said += process.stdout.read()
            code = process.wait(30)
    assert (code, token in said, ACCOUNT in said) == (0, False, False)


@pytest.mark.parametrize("number", ["+15005550006", "+1987654321", "+15005550009"])
def test_the_examples_number_calls_and_so_does_that_of_the_settings(number: str):
    token = "6" * 32
    own = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": token, "TWILIO_BASE_URL": "http://127.0.0.1:4010"}
    with subprocess.Popen(
        [sys.executable, "-c", "from cli.main import run; run()", "phone-simulator", "--port", "0"],
        stdout=subprocess.PIPE,
        env=os.environ | own | {"TWILIO_PHONE_NUMBER": "+1 500 555 0009", "PYTHONPATH": "src"},
        text=True,
    ) as process:
        try:
            base = re.search(r"http://127\.0\.0\.1:[0-9]+", process.stdout.readline())[0]
            calls = Client(ACCOUNT, token, http_client=Loopback(base, 10)).calls
            assert calls.create(to="+491701234599", from_=number, twiml="<Response/>").status == "queued"
            with pytest.raises(TwilioRestException, match="not yet verified"):
                calls.create(to="+491701234599", from_="+15005550007", twiml="<Response/>")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
