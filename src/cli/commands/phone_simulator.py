"""`csai phone-simulator`: a Twilio on this machine, for demonstrations and tests."""

import secrets
import signal
import threading
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlsplit

import typer

from adapters.phone_simulator.callees import MAGIC_HELP
from adapters.phone_simulator.calls import Call
from adapters.twilio_simulator import EXAMPLE_NUMBER, OUR_NUMBER, TwilioSimulator
from cli.output import AsJson, print_json
from config.settings import LOOPBACK_HOSTS, settings
from processors.errors import ConfigurationError
from processors.phone_numbers import normalised

HELP = f"""Play Twilio on 127.0.0.1: calls ring, are answered and end, and our webhooks are told, until Ctrl-C.

Nobody is called. It is refused where a real account is configured. Calls come from {OUR_NUMBER}, {EXAMPLE_NUMBER} or
TWILIO_PHONE_NUMBER; any other number is none of the account's.

{MAGIC_HELP}"""


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("phone-simulator", help=HELP)(phone_simulator)


def phone_simulator(  # noqa: PLR0913, PLR0917 - one per option
    port: Annotated[int, typer.Option(help="On 127.0.0.1; 0: a free one.", min=0, max=65535)] = 4010,
    account: Annotated[
        str,
        typer.Option(
            help="The account's name, AC and 32 hexadecimal digits; unset: that of the settings, or a new one."
        ),
    ] = "",
    token: Annotated[str, typer.Option(help="Its token; unset: that of the settings, or a new one.")] = "",
    speed: Annotated[float, typer.Option(help="Seconds of phones in one of the machine's.", min=0.001)] = 1.0,
    calls_per_second: Annotated[float, typer.Option(help="Calls beyond it wait in a queue.", min=0.001)] = 1.0,
    live_calls: Annotated[int, typer.Option(help="Calls at one instant; 0: any number.", min=0)] = 0,
    magic: Annotated[bool, typer.Option("--magic/--no-magic", help="The last digits decide what happens.")] = True,
    seed: Annotated[int | None, typer.Option(help="Decides chance; unset: any.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run until Ctrl-C or SIGTERM."""
    refuse_beside_real_account(settings.twilio_account_sid, settings.twilio_base_url)
    known = settings.twilio_account_sid and settings.twilio_auth_token and not (account or token)
    if known:
        account, token = str(settings.twilio_account_sid), str(settings.twilio_auth_token)
    account, token = account or f"AC{secrets.token_hex(16)}", token or secrets.token_hex(16)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: ended.set())
    simulator = TwilioSimulator(
        account,
        token,
        numbers={OUR_NUMBER, EXAMPLE_NUMBER, normalised(settings.twilio_phone_number or OUR_NUMBER)},
        port=port,
        speed=speed,
        calls_per_second=calls_per_second,
        live_calls=live_calls or None,
        magic=magic,
        seed=seed,
        told=lambda call, what: _print_step(call, what, ended, as_json=as_json),
    )
    with simulator:
        if as_json:
            made = {} if known else _settings(simulator, account, token)
            print_json({"seed": simulator.seed, "url": simulator.url, **made}, line=True)
        elif known:
            print(f"# Seed {simulator.seed}. At {simulator.url}, with the account that the settings name.", flush=True)
        else:
            _print_settings(simulator, account, token)
        ended.wait()


def refuse_beside_real_account(account: str | None, base_url: str) -> None:
    """Refuse to play Twilio where somebody may mean the real one.

    Raises:
        ConfigurationError: an account is configured, and its calls go to Twilio.
    """
    if account and urlsplit(base_url).hostname not in LOOPBACK_HOSTS:
        raise ConfigurationError(
            "The phone simulator does not start beside a real account: TWILIO_ACCOUNT_SID is set, and TWILIO_BASE_URL"
            f" is {base_url}; unset TWILIO_ACCOUNT_SID, or set TWILIO_BASE_URL to the simulator, such as"
            " http://127.0.0.1:4010."
        )


def _print_settings(simulator: TwilioSimulator, account: str, token: str) -> None:
    print(f"# Seed {simulator.seed}. Put these into the environment or .env of the service:")
    for name, value in _settings(simulator, account, token).items():
        print(f"{name}={value}", flush=True)


def _settings(simulator: TwilioSimulator, account: str, token: str) -> dict[str, str]:
    return {
        "TWILIO_ACCOUNT_SID": account,
        "TWILIO_AUTH_TOKEN": token,
        "TWILIO_PHONE_NUMBER": OUR_NUMBER,
        "TWILIO_BASE_URL": simulator.url,
    }


def _print_step(call: Call, what: str, ended: threading.Event, *, as_json: bool) -> None:
    """Print one step of a call, with all of the number masked but its last digits; end where nobody reads it."""
    number = f"…{call.other_number[-2:]}"
    try:
        if as_json:
            at = datetime.now(UTC).isoformat()
            told = {"at": at, "call_sid": call.sid, "direction": call.direction, "number": number, "step": what}
            print_json(told, line=True)
            return
        print(f"{datetime.now(UTC):%H:%M:%S.%f} {call.sid} {call.direction} {number} {what}", flush=True)
    except BrokenPipeError:
        ended.set()
