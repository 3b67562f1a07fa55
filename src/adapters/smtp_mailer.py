"""SMTP (RFC 5321): mails over a few connections at once, each kept for the next; one commit announces many mails.

The stage at which a fault strikes decides whether a mail may be sent again: before the first byte of the content
nothing has happened; after the final dot, without an answer, nobody knows.
"""

import os
import selectors
import ssl
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial

from adapters.smtp_line import Line, fault_of
from adapters.smtp_login import CLOSING, account_of, log_in
from processors.errors import TransportFault
from processors.interfaces import Handed, Letter, MailQueue, Outcome, Told

LOOK_SECONDS = 0.5
REOPEN_SECONDS = 10.0
"""How long no further connection is asked of a server that has just refused one, while others carry on."""

GATHER_SECONDS = 0.001
"""How long a commit waits for servers that are about to answer: it costs as much for eight mails as for one."""

TOLD_SECONDS = 0.1
"""How long what became of a mail waits to be kept together with the next announcement."""

NOBODY: Mapping[str, Outcome] = {}

LOSSES_IN_A_ROW = 3
LOSSES_OF_A_MAIL = 2


class SmtpMailer:
    """Fulfils `processors.interfaces.Mailer`.

    Args:
        url: see `adapters.smtp_login.account_of`.
        connections: how many this process has at most.
        timeout: seconds that one reply may take.
        deadline: seconds that one mail may take in all, whatever the server does.
        context: the TLS context; by default the system's certificate authorities.

    Raises:
        ConfigurationError: the URL is not of that form.
    """

    name = "smtp"
    repeatable = False

    def __init__(
        self,
        url: str,
        *,
        connections: int = 8,
        timeout: float = 30,
        deadline: float = 120,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.account = account_of(url)
        self.deadline = deadline
        self.connections = connections
        self._timeout = timeout
        self._context = context
        self._lines = _Lines(connections)

    def send(self, queue: MailQueue) -> None:
        """Send all mails of a queue, over as many connections as it has mails for and other threads leave."""
        first = queue.take()
        if first is None:
            return
        queue.give_back(first)
        sending = _Sending(self, queue)
        try:
            sending.run()
        finally:
            sending.close()

    def close(self) -> None:
        """Close the connections, those in use once they come back; what is sent afterwards has new ones."""
        self._lines.close()

    @property
    def is_wanted(self) -> bool:
        """Whether another thread waits for a connection."""
        return self._lines.waiting > 0

    def borrow(self, seconds: float) -> Line | None:
        """Return a connection that was used before, or a new one; None where all are in use for so long.

        Raises:
            TransportFault: it cannot be opened.
        """
        if not self._lines.permit(seconds):
            return None
        line = self._lines.idle()
        try:
            return line or self.open()
        except BaseException:
            self._lines.end_permit()
            raise

    def open(self) -> Line:
        """Return a new connection.

        Raises:
            TransportFault: it cannot be opened.
        """
        if self._context is None:
            self._context = _unused_context() if self.account.tls == "none" else ssl.create_default_context()
        connection = log_in(self.account, self._context, timeout=self._timeout, deadline=self.deadline)
        return Line(connection, timeout=self._timeout, deadline=self.deadline)

    def bring_back(self, line: Line | None) -> None:
        """Have a borrowed connection back; None for one that was lost."""
        self._lines.take_back(line)


def _unused_context() -> ssl.SSLContext:
    """Return a context that trusts nobody: reading all authorities takes longer than a hundred mails."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class _Lines:
    """The connections of this process: those that nobody uses, and how many there may be."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._renew()

    def _renew(self) -> None:
        self._pid = os.getpid()
        self.waiting = 0
        self._permits = threading.BoundedSemaphore(self._most)
        self._idle: list[Line] = []
        self._is_closed = False

    def permit(self, seconds: float) -> bool:
        if self._pid != os.getpid():
            self._renew()  # a child shares no connection with its parent
        if self._permits.acquire(blocking=False):
            return True
        if not seconds:
            return False
        self.waiting += 1
        try:
            return self._permits.acquire(timeout=seconds)
        finally:
            self.waiting -= 1

    def end_permit(self) -> None:
        self._permits.release()

    def idle(self) -> Line | None:
        """Return the one that was used last, if it is still good."""
        while True:
            try:
                line = self._idle.pop()
            except IndexError:
                return None
            if not line.is_worn:
                return line
            line.close()

    def take_back(self, line: Line | None) -> None:
        if line is not None and not line.is_worn and not line.is_busy:
            self._idle.append(line)
        elif line is not None:
            line.close()
        self.end_permit()
        if self._is_closed:
            self.close()  # this one was still being opened meanwhile

    def close(self) -> None:
        self._is_closed = True
        while True:
            try:
                self._idle.pop().close()
            except IndexError:
                return


class _Sending:
    """One call of `send`: a loop over its connections, in the calling thread."""

    def __init__(self, mailer: SmtpMailer, queue: MailQueue) -> None:
        self._mailer, self._queue = mailer, queue
        self._lines: list[Line] = []
        self._opening: Future[Line | None] | None = None
        self._told: list[Told] = []
        self._told_since = 0.0
        self._aside: deque[Letter] = deque()
        self._open_not_before = 0.0
        self._losses: Counter[str] = Counter()
        self._losses_in_a_row = 0
        self._sent_any = False
        self._error: BaseException | None = None
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        self._reopen()
        while True:
            self._begin_where_idle()
            if not self._is_anything_on_its_way():
                self._keep_told()  # after which a mail may have recipients left
                if not self._is_more_left():
                    break
                if not self._lines:
                    self._reopen()
                continue
            self._wait()
            self._drop_lost()
            self._take_turn()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Give back what was not handed over, and the connections."""
        self._keep_told()
        while self._aside:
            self._give_back(self._aside.pop())
        for line in list(self._lines):
            self._remove(line)
            if line.is_busy:
                line.fault = line.fault or "it was left"
            unsent, _ = line.orphans()
            if unsent is not None and unsent[1]:
                self._told.append(unsent)
            else:
                self._give_back(unsent and unsent[0])
            if line.fault is not None:
                line.close()
            self._mailer.bring_back(line if line.fault is None else None)
        if self._opening is not None:
            self._opening.add_done_callback(partial(_bring_back_opened, self._mailer))
        self._selector.close()
        self._keep_told()

    # --- Steps --------------------------------------------------------------------------------------------------

    def _begin_where_idle(self) -> None:
        """Begin a mail on every connection that has none, and open another where mails are left."""
        self._welcome_opened()
        for line in list(self._lines):
            if self._error is not None or line.is_busy:
                continue
            if self._mailer.is_wanted and len(self._lines) > 1:
                self._remove(line)
                self._mailer.bring_back(line)
                continue
            letter = self._take()
            if letter is None:
                return
            if line.is_worn:
                self._replace(line, letter)
            else:
                line.begin(letter)
        alone = self._opening is None and not self._mailer.is_wanted
        if alone and len(self._lines) < self._mailer.connections and time.monotonic() >= self._open_not_before:
            self._open_another()

    def _is_anything_on_its_way(self) -> bool:
        if any(line.is_busy for line in self._lines):
            return True
        return self._error is None and self._opening is not None and self._is_more_left()

    def _wait(self) -> None:
        """Let the connections speak; longer for a moment where some are about to answer."""
        self._speak(self._patience())
        while any(line.is_ready for line in self._lines) and any(line.is_answering for line in self._lines):
            if not self._speak(GATHER_SECONDS):
                break
        now = time.monotonic()
        for line in self._lines:
            line.check_clock(now)

    def _speak(self, seconds: float) -> bool:
        """Wait for any connection; tells whether one had something."""
        for line in self._lines:
            if line.fault is not None:
                continue
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if line.wants_to_write else 0)
            if self._selector.get_key(line.socket).events != events:
                self._selector.modify(line.socket, events, line)
        found = self._selector.select(seconds)
        for key, _ in found:
            line: Line = key.data
            line.look()
            self._hear(line)
            if line.fault is not None:
                self._selector.unregister(line.socket)  # its end would be news for ever
        return bool(found)

    def _hear(self, line: Line) -> None:
        if line.done:
            self._told_since = self._told_since if self._told else time.monotonic()
            self._told += line.done
            line.done = []
            self._sent_any, self._losses_in_a_row = True, 0

    def _take_turn(self) -> None:
        """Keep what became of mails and announce those whose content is awaited, then send it at once."""
        ready = [line for line in self._lines if line.is_ready]
        if not ready:
            if self._told and time.monotonic() >= self._told_since + TOLD_SECONDS:
                self._keep_told()
            return
        following = {line: self._take() for line in ready if self._goes_on(line)}
        if not self._turn(
            [(line.talk.envelope.letter, line.talk.envelope.ready) for line in ready if line.talk.envelope]
        ):
            for letter in following.values():
                self._give_back(letter)
            self._drop_lost()
            return
        for line in ready:
            line.hand_over(following.get(line))

    def _goes_on(self, line: Line) -> bool:
        """Tell whether the next mail's envelope goes out behind this one's content."""
        spare = self._mailer.is_wanted and len(self._lines) > 1
        return line.talk.pipelining and not line.is_worn and not spare

    def _drop_lost(self) -> None:
        if self._error is not None:  # what has not been handed over yet will not be
            for line in self._lines:
                if line.is_busy and line.talk.content is None:
                    line.fault = line.fault or "the sending was stopped"
        for line in [one for one in self._lines if one.fault is not None]:
            self._hear(line)
            unsent, told = line.orphans()
            if told is not None:
                self._told.append(told)
            self._remove(line)
            was_new = line.mails == 0
            fault = fault_of(line, self._mailer.account.host)
            line.close()
            self._mailer.bring_back(None)
            if unsent is not None:
                self._lost(*unsent, fault, was_new=was_new)

    def _lost(self, letter: Letter, refused: Mapping[str, Outcome], fault: TransportFault, *, was_new: bool) -> None:
        """Decide what becomes of a mail whose connection was lost before its content went out."""
        if was_new:
            self._losses[letter.id] += 1
            self._losses_in_a_row += 1
        if self._sent_any and self._losses[letter.id] >= LOSSES_OF_A_MAIL:
            self._put_off(letter, fault, refused)
        elif refused:
            self._told.append((letter, refused))  # the queue lends it again for the others
        elif was_new:
            self._aside.append(letter)  # another mail shows whether it is this one's fault
        else:
            self._give_back(letter)
        if self._error is not None:
            return
        if self._losses_in_a_row >= LOSSES_IN_A_ROW:
            self._stop(fault)
            if fault.code == CLOSING:
                self._put_off_aside(fault)
        elif not self._lines:
            self._reopen()

    def _put_off(self, letter: Letter, fault: TransportFault, refused: Mapping[str, Outcome] = NOBODY) -> None:
        outcome = Outcome("deferred", text=str(fault), retry_after=fault.retry_after, of_whole_mail=True)
        self._told.append((letter, dict.fromkeys(letter.recipients, outcome) | dict(refused)))

    def _put_off_aside(self, fault: TransportFault) -> None:
        """Count the try of those whom the server has closed connections for: else one of them could do so for ever."""
        while self._aside:
            self._put_off(self._aside.popleft(), fault)

    # --- Connections --------------------------------------------------------------------------------------------

    def _add(self, line: Line) -> None:
        self._lines.append(line)
        self._selector.register(line.socket, selectors.EVENT_READ, line)

    def _remove(self, line: Line) -> None:
        self._lines.remove(line)
        if line.socket in self._selector.get_map():
            self._selector.unregister(line.socket)

    def _replace(self, line: Line, letter: Letter) -> None:
        """Begin a mail on a new connection instead of one that has carried enough."""
        self._give_back(letter)
        self._remove(line)
        line.close()
        self._mailer.bring_back(None)
        if not self._lines:
            self._reopen()

    def _reopen(self) -> None:
        """Have a connection where there is none, however long others need all of them."""
        self._keep_told()
        line = None
        try:
            while line is None and self._is_more_left():
                line = self._mailer.borrow(LOOK_SECONDS)
        except TransportFault as fault:
            self._stop(fault)
        if line is not None:
            self._add(line)

    def _open_another(self) -> None:
        """Open one more connection beside what goes on, where there are mails for it and nobody else needs it."""
        if not self._is_more_left():
            return
        future: Future[Line | None] = Future()
        threading.Thread(target=_open_into, args=(self._mailer, future), name="smtp-connect", daemon=True).start()
        self._opening = future

    def _welcome_opened(self) -> None:
        if self._opening is None or not self._opening.done():
            return
        future, self._opening = self._opening, None
        try:
            line = future.result()
        except TransportFault as fault:
            self._open_not_before = time.monotonic() + REOPEN_SECONDS
            if not self._lines:
                self._stop(fault)
            return  # the others carry on
        if line is None:
            self._open_not_before = time.monotonic() + LOOK_SECONDS
        else:
            self._add(line)

    # --- The queue ----------------------------------------------------------------------------------------------

    def _take(self) -> Letter | None:
        if self._error is not None:
            return None
        try:
            letter = self._queue.take()
            if letter is None and self._aside:
                self._queue.give_back(self._aside.popleft())  # it may still say that nothing more goes out
                letter = self._queue.take()
        except BaseException as error:  # noqa: BLE001 - raised once what is on its way has ended
            self._stop(error)
            return None
        return letter

    def _is_more_left(self) -> bool:
        letter = self._take()
        self._give_back(letter)
        return letter is not None

    def _give_back(self, letter: Letter | None) -> None:
        if letter is not None:
            self._queue.give_back(letter)

    def _keep_told(self) -> None:
        if self._told:
            self._turn([])

    def _turn(self, announced: Sequence[Handed]) -> bool:
        """Keep what was told and announce these; False where they may not go out."""
        told, self._told = self._told, []
        try:
            self._queue.turn(told, announced)
        except BaseException as error:  # noqa: BLE001 - raised once what is on its way has ended
            self._stop(error)
            return False
        return True

    def _stop(self, error: BaseException) -> None:
        """Begin nothing more; what is on its way ends first."""
        self._error = self._error or error

    def _patience(self) -> float:
        now = time.monotonic()
        dues = [line.due - now for line in self._lines if line.is_busy]
        if self._told:
            dues.append(self._told_since + TOLD_SECONDS - now)
        if self._opening is not None:
            dues.append(0.02 if not self._opening.done() else 0.0)
        return max(0.0, min([*dues, LOOK_SECONDS]))


def _open_into(mailer: SmtpMailer, future: Future[Line | None]) -> None:
    try:
        future.set_result(mailer.borrow(0))
    except Exception as error:  # noqa: BLE001 - who waits raises it
        future.set_exception(error)


def _bring_back_opened(mailer: SmtpMailer, future: Future[Line | None]) -> None:
    with suppress(TransportFault):
        line = future.result()
        if line is not None:
            mailer.bring_back(line)
