"""Mail as a plain Celery application sends it: a task for each, which builds the message and opens a connection.

python mail_tasks.py publish 10000    a task for each mail
python mail_tasks.py loop 100         the same work here, one mail after the other
"""

import json
import os
import smtplib
import sys
import time
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

import plain_celery
from mail_content import BODY, SUBJECT, address

HOST, DOMAIN = "127.0.0.1", "example.com"
PORT = int(os.environ["BENCH_MAIL_PORT"])  # noqa: TID251 - the runner's word to a process of another environment
TIMEOUT_SECONDS = 30

app = plain_celery.make_app()


@app.task(name="bench.send_mail")
def send_mail(to_email: str, subject: str, body: str) -> None:
    """Send one mail."""
    message = EmailMessage()
    message["From"] = f"noreply@{DOMAIN}"
    message["To"] = to_email
    message["Subject"] = subject
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=DOMAIN)
    message.set_content(body)
    # without a name it would look its own up each time
    with smtplib.SMTP(HOST, PORT, local_hostname="localhost", timeout=TIMEOUT_SECONDS) as server:
        server.send_message(message)


WAYS = {"publish": send_mail.delay, "loop": send_mail.run}


def main(way: str, count: str) -> None:
    """Send, and print when it began and how long it took here."""
    began = time.monotonic()
    for number in range(int(count)):
        WAYS[way](address(number), SUBJECT, BODY)
    print(json.dumps({"began": began, "seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main(*sys.argv[1:])
