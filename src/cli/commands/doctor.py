"""`csai doctor`: what is wrong with this installation, and the cure."""

import sys

import typer

from cli.output import AsJson, print_json, print_table, state
from services.diagnosis import diagnose


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("doctor")(doctor)


def doctor(as_json: AsJson = False) -> None:
    """Find what is wrong, and say the cure; exit code 1 where something is.

    It looks at Python, folders, disk, ports, database, broker, leader, workers, mail and phone.
    """
    findings = diagnose()
    good = all(finding.good for finding in findings)
    if as_json:
        found = [{"check": one.name, "good": one.good, "found": one.detail} for one in findings]
        print_json({"good": good, "checks": found})
    else:
        rows = [(one.name, state("ok" if one.good else "wrong"), one.detail) for one in findings]
        print_table(("check", "", "found"), rows)
    if not good:
        sys.exit(1)
