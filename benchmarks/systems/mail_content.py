"""The mails of the mail benchmark: one subject and one text of 5 120 bytes for all, and an address for each."""

LINE = "The pump moved water all night, as it should, and nobody had to get up for it.\n"
BYTES = 5120
SUBJECT = "What became of the pump"
BODY = (LINE * (BYTES // len(LINE) + 1))[: BYTES - 1] + "\n"


def address(number: int) -> str:
    """Return the address of one recipient."""
    return f"reader-{number:06}@example.com"
