"""Files from elsewhere: whole, within their bounds, and from nowhere that is not open to everybody."""

import gzip
import io
import ipaddress
import random
import socket
import ssl
from itertools import cycle

import pytest
import trustme
import urllib3.util.connection

from adapters.disk_storage import DiskStorage
from adapters.network_guard import checked_addresses, is_global, system_resolver
from adapters.pouring import MIB, Bounds
from adapters.s3_bucket import S3Access, client_of
from adapters.s3_files import S3Files
from adapters.s3_storage import S3Storage
from adapters.stored_files import StoredFiles
from adapters.web_files import WebFiles
from processors.errors import Cancelled, ConfigurationError, FileError, TransientError
from reading import silent
from s3_server import BUCKET, S3Server
from web_server import WebServer, said

GLOBAL = "93.184.215.14"
"""What the tests' hosts resolve to; a connection to it goes to the server of the test."""

CONTENT = random.Random(5).randbytes(300_000)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def web(authority, monkeypatch):
    """A server that stands for all hosts at a global address, and the addresses that were connected to."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("files.example", "other.example").configure_cert(context)
    with WebServer(context) as server:
        server.dialled = []

        def dial(address, *arguments, **options):
            server.dialled.append(address[0])
            if address[0] != GLOBAL:
                raise ConnectionRefusedError(111, "Connection refused")
            return connect(("127.0.0.1", server.port), *arguments, **options)

        connect = urllib3.util.connection.create_connection
        monkeypatch.setattr(urllib3.util.connection, "create_connection", dial)
        yield server


def fetched(authority, address, *, bounds=None, hosts=(), addresses=(GLOBAL,), report=silent) -> bytes:
    """What `WebFiles` writes, where every host is at these addresses."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    source = WebFiles(bounds or Bounds(1, 30), hosts, lambda _host, _port: list(addresses), context)
    into = io.BytesIO()
    source.fetch(address, into, report)
    return into.getvalue()


def refusal(code: str, *arguments, **options) -> str:
    """The sentence of the FileError with this code that a fetch ends with."""
    with pytest.raises(FileError) as refused:
        fetched(*arguments, **options)
    assert refused.value.code == code
    return str(refused.value)


# --- Which addresses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1"),
        *("198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::ffff:127.0.0.1", "::ffff:93.184.215.14", "::127.0.0.1", "fe80::1", "fe80::1%eth0", "fc00::1"),
        *("fd12::1", "fec0::1", "ff02::1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "100::1", "5f00::1"),
        *("2002:7f00:1::", "2001::1", "2001:0:7f00:1::", "2001:db8::1", "3fff::1", "4000::1"),
    ],
)
def test_an_address_that_is_not_for_everybody_is_refused(address):
    assert not is_global(address)
    with pytest.raises(FileError, match="no global address") as refused:
        checked_addresses("host.example", 443, lambda _host, _port: [GLOBAL, address])
    assert refused.value.code == "network_forbidden"


@pytest.mark.parametrize("address", [GLOBAL, "8.8.8.8", "172.15.0.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111"])
def test_an_address_of_the_internet_is_taken(address):
    assert checked_addresses("host.example", 443, lambda _host, _port: [address]) == [address]


def test_the_list_of_networks_refuses_all_that_python_calls_not_global():
    chance = random.Random(20)
    drawn = [ipaddress.ip_address(chance.getrandbits(32)) for _ in range(20_000)]
    assert [one for one in drawn if is_global(str(one)) and not one.is_global] == []


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1"])
def test_a_way_to_write_this_machine_is_refused_whatever_the_system_makes_of_it(host):
    with pytest.raises(FileError):
        checked_addresses(host, 443, system_resolver)


@pytest.mark.parametrize(
    ("number", "raised"), [(socket.EAI_NONAME, FileError), (socket.EAI_AGAIN, TransientError)], ids=["none", "later"]
)
def test_a_host_without_an_address_is_told_from_one_that_nobody_can_tell_of_now(number, raised):
    def resolve(_host, _port):
        raise socket.gaierror(number, "said the resolver")

    with pytest.raises(raised, match=r"host\.example"):
        checked_addresses("host.example", 443, resolve)


# --- https: the file -------------------------------------------------------------------------------------------


def test_a_file_comes_whole_and_the_server_is_asked_for_it_as_it_is(web, authority):
    web.answers["/a%20b?sig=1"] = said(200, body=CONTENT)
    told: list[float] = []
    address = "https://files.example/a b?sig=1#page"
    assert fetched(authority, address, report=lambda percent, _text: told.append(percent)) == CONTENT
    head = web.requests[0].lower()
    assert "host: files.example\r\n" in head
    assert "accept-encoding: identity\r\n" in head
    assert told == sorted(told)
    assert told[-1] == 100


def test_a_connection_goes_to_the_address_that_was_checked_and_the_name_is_asked_for_once(web, authority):
    answers = cycle([[GLOBAL], ["127.0.0.1"]])
    asked: list[str] = []

    def resolve(host, _port):
        asked.append(host)
        return next(answers)

    context = ssl.create_default_context()
    authority.configure_trust(context)
    web.answers["/f"] = said(200, body=b"x")
    WebFiles(Bounds(1, 30), (), resolve, context).fetch("https://files.example/f", io.BytesIO(), silent)
    assert (asked, web.dialled) == (["files.example"], [GLOBAL])


def test_the_next_address_is_tried_where_one_cannot_be_reached(web, authority):
    web.answers["/f"] = said(200, body=b"x")
    assert fetched(authority, "https://files.example/f", addresses=["2606:4700::1111", GLOBAL]) == b"x"
    with pytest.raises(TransientError, match=r"files\.example cannot be reached now: .*refused"):
        fetched(authority, "https://files.example/f", addresses=["8.8.8.8"])


def test_a_file_in_chunks_is_taken_and_one_that_was_compressed_on_its_way_stays_so(web, authority):
    packed = gzip.compress(b"text")
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (packed[:9], packed[9:], b""))
    web.answers["/f"] = said(200, body=chunks, Content_Length="", Transfer_Encoding="chunked", Content_Encoding="gzip")
    assert fetched(authority, "https://files.example/f") == packed


def test_the_environments_proxies_are_not_used(web, authority, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    web.answers["/f"] = said(200, body=b"x")
    assert fetched(authority, "https://files.example/f") == b"x"


def test_a_cancellation_ends_a_fetch(web, authority):
    web.answers["/f"] = said(200, body=CONTENT)

    def report(percent, _text):
        if percent > 0:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        fetched(authority, "https://files.example/f", report=report)


# --- https: where it may not come from -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "http://files.example/f",
        "ftp://files.example/f",
        "https://user@files.example/f",
        "https://user:planted@files.example/f",
        "https:///f",
    ],
)
def test_an_address_that_is_not_plain_https_is_refused_before_anybody_is_asked(web, authority, address):
    assert "planted" not in refusal("network_forbidden", authority, address)
    assert web.dialled == []


def test_an_address_that_is_none_is_refused_without_its_query(web, authority):
    assert "planted" not in refusal("not_found", authority, "https://files.example:port/f?sig=planted")


def test_only_hosts_of_the_list_are_asked_also_where_they_redirect(web, authority):
    web.answers["/f"] = said(302, "Found", Location="https://other.example/f")
    hosts = ["Files.Example"]
    assert "FILE_HOSTS" in refusal("network_forbidden", authority, "https://other.example/f", hosts=hosts)
    assert "other.example" in refusal("network_forbidden", authority, "https://FILES.example./f", hosts=hosts)
    assert len(web.requests) == 1


@pytest.mark.parametrize(
    "location", ["http://files.example/g", "file:///etc/passwd", "//user:x@other.example/g", "https://127.0.0.1/g"]
)
def test_a_redirect_is_checked_like_the_first_address(web, authority, location):
    web.answers["/f"] = said(302, "Found", Location=location)

    def resolve(host, _port):
        return [GLOBAL] if host.endswith("example") else [host]

    context = ssl.create_default_context()
    authority.configure_trust(context)
    with pytest.raises(FileError) as refused:
        WebFiles(Bounds(1, 30), (), resolve, context).fetch("https://files.example/f", io.BytesIO(), silent)
    assert refused.value.code == "network_forbidden"
    assert web.dialled == [GLOBAL]


@pytest.mark.parametrize("letters", ["größe".encode(), "größe".encode("latin-1")], ids=["utf-8", "latin-1"])
def test_a_redirect_to_letters_beyond_ascii_leads_where_it_is_meant(web, authority, letters):
    web.answers["/f"] = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /%s\r\n\r\n" % letters
    web.answers["/gr%C3%B6%C3%9Fe"] = said(200, body=b"x")
    assert fetched(authority, "https://files.example/f") == b"x"


def test_five_redirects_are_followed_and_no_more(web, authority):
    for number in range(6):
        web.answers[f"/{number}"] = said(307, "Moved", body=b"moved", Location=f"{number + 1}")
    web.answers["/6"] = said(200, body=b"x")
    assert fetched(authority, "https://files.example/1") == b"x"
    assert "5 redirects" in refusal("not_found", authority, "https://files.example/0")


def test_a_certificate_for_another_host_or_of_nobody_ends_it(web, authority):
    web.answers["/f"] = said(200, body=b"x")
    assert "not trusted" in refusal("network_forbidden", authority, "https://elsewhere.example/f")
    assert "not trusted" in refusal("network_forbidden", trustme.CA(), "https://files.example/f")
    assert web.requests == []


# --- https: answers that are no file ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 410, 401, 403, 204, 206])
def test_an_answer_without_the_file_fails_and_never_shows_the_query(web, authority, status):
    web.answers["/f?sig=planted"] = said(status, "Word")
    words = refusal("not_found", authority, "https://files.example/f?sig=planted")
    assert "https://files.example/f" in words
    assert "planted" not in words


@pytest.mark.parametrize(("status", "header", "seconds"), [(503, "7", 7), (429, "120", 120), (500, "", None)])
def test_a_server_that_cannot_now_is_asked_again_when_it_says(web, authority, status, header, seconds):
    web.answers["/f?sig=planted"] = said(status, "Busy", Retry_After=header)
    with pytest.raises(TransientError, match=f"{status} Busy") as raised:
        fetched(authority, "https://files.example/f?sig=planted")
    assert raised.value.retry_after == seconds
    assert "planted" not in str(raised.value)


def test_a_file_that_is_too_large_is_refused_by_its_length_or_by_count(web, authority):
    web.answers["/told"] = said(200, Content_Length=str(MIB + 1))
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    web.answers["/endless"] = lambda connection: _endless(connection, chunk)
    assert "MAX_FILE_MB" in refusal("too_large", authority, "https://files.example/told")
    assert "MAX_FILE_MB" in refusal("too_large", authority, "https://files.example/endless")


def _endless(connection, chunk) -> None:
    connection.sendall(said(200, Content_Length="", Transfer_Encoding="chunked"))
    while True:
        connection.sendall(chunk)


@pytest.mark.parametrize(
    "answer",
    [
        said(200, body=b"half", Content_Length="8"),
        said(200, body=b"4\r\nhalf\r\n", Content_Length="", Transfer_Encoding="chunked"),
        b"",
        b"nonsense\r\n\r\n",
    ],
    ids=["length", "chunked", "nothing", "nonsense"],
)
def test_an_answer_that_was_cut_off_is_never_taken_for_a_file(web, authority, answer):
    web.answers["/f"] = answer
    with pytest.raises(TransientError, match=r"https://files\.example/f"):
        fetched(authority, "https://files.example/f")


@pytest.mark.parametrize(
    "answer",
    [
        *(said(200, body=b"half", Content_Length=length) for length in ("", "many", "-1")),
        b"HTTP/1.1 200 OK\r\nContent-",
    ],
    ids=["missing", "words", "negative", "cut"],
)
def test_an_answer_whose_end_nobody_could_tell_from_a_cut_is_refused(web, authority, answer, caplog):
    web.answers["/f?sig=planted"] = answer
    assert "how long the file is" in refusal("corrupt", authority, "https://files.example/f?sig=planted")
    assert "planted" not in caplog.text


def test_nothing_is_no_file(web, authority):
    web.answers["/f"] = said(200)
    assert "https://files.example/f is empty" in refusal("empty_file", authority, "https://files.example/f")


@pytest.mark.parametrize("head", [b"", said(200, Content_Length="1000")], ids=["head", "body"])
def test_a_server_that_drips_ends_with_the_time_for_the_whole(web, authority, head):
    def drip(connection) -> None:
        connection.sendall(head)
        while not web.ended.wait(0.02):
            connection.sendall(b"H")

    web.answers["/f"] = drip
    with pytest.raises(TransientError, match=r"was not here after 0\.5 s"):
        fetched(authority, "https://files.example/f", bounds=Bounds(1, 0.5))


def test_a_server_that_says_nothing_ends_with_the_time_for_the_whole(web, authority):
    web.answers["/f"] = lambda _connection: web.ended.wait(10)
    with pytest.raises(TransientError, match=r"was not here after 0\.2 s"):
        fetched(authority, "https://files.example/f", bounds=Bounds(1, 0.2))


# --- s3 --------------------------------------------------------------------------------------------------------


@pytest.fixture
def s3():
    with S3Server() as server:
        server.objects = {"in/a b?c.pdf": CONTENT}
        yield server


def from_s3(server: S3Server, address: str, bounds: Bounds | None = None) -> bytes:
    into = io.BytesIO()
    S3Files(server.client(), bounds or Bounds(1, 30)).fetch(address, into, silent)
    return into.getvalue()


def test_an_object_comes_whole_under_its_key_as_it_is_written(s3):
    assert from_s3(s3, f"s3://{BUCKET}/in/a b?c.pdf") == CONTENT


@pytest.mark.parametrize(
    ("address", "code"),
    [
        (f"s3://{BUCKET}/nothing", "not_found"),
        ("s3://elsewhere/in", "not_found"),
        (f"s3://{BUCKET}", "not_found"),
        ("s3://UPPER_case!/x", "not_found"),
    ],
)
def test_an_object_that_is_not_there_says_so(s3, address, code):
    with pytest.raises(FileError) as refused:
        from_s3(s3, address)
    assert refused.value.code == code


def test_an_object_that_is_too_large_is_refused_before_it_is_read(s3):
    s3.objects["large"] = bytes(MIB + 1)
    with pytest.raises(FileError, match="MAX_FILE_MB") as refused:
        from_s3(s3, f"s3://{BUCKET}/large")
    assert refused.value.code == "too_large"


@pytest.mark.parametrize("fault", [503, "cut"])
def test_an_object_that_cannot_be_had_now_is_tried_again(s3, fault):
    s3.fault = lambda _method, _key: fault
    with pytest.raises(TransientError):
        from_s3(s3, f"s3://{BUCKET}/in/a b?c.pdf")


def test_a_key_without_its_secret_says_which_settings_give_them(s3):
    with pytest.raises(ConfigurationError, match=r"missing: aws_secret_access_key; see the settings S3_"):
        client_of(S3Access(s3.url, "key"))


def test_a_service_without_credentials_says_which_settings_give_them(monkeypatch, tmp_path, s3):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="S3_ACCESS_KEY_ID"):
        S3Files(client_of(S3Access(s3.url)), Bounds(1, 30)).fetch(f"s3://{BUCKET}/x", io.BytesIO(), silent)


# --- The storage -----------------------------------------------------------------------------------------------


@pytest.fixture(params=["disk", "s3"])
def storage(request, tmp_path):
    if request.param == "disk":
        yield DiskStorage(tmp_path / "storage")
        return
    with S3Server() as server:
        yield S3Storage(server.client(), BUCKET)


def from_storage(storage, address: str, bounds=None, report=silent) -> bytes:
    into = io.BytesIO()
    StoredFiles(storage, bounds or Bounds(1, 30)).fetch(address, into, report)
    return into.getvalue()


@pytest.mark.parametrize("name", ["", "/a.md", "/%2e%2e%2fa", "/\U0001f600 é"])
def test_a_file_in_the_storage_comes_whole_whatever_it_is_called(storage, name):
    told: list[float] = []
    uri = storage.put(CONTENT, mime="text/plain", task_id="a")
    assert from_storage(storage, f"{uri}{name}", report=lambda percent, _text: told.append(percent)) == CONTENT
    assert told == sorted(told)
    assert told[-1] == 100


def test_a_file_that_is_not_in_the_storage_is_not_found(storage):
    uri = storage.put(CONTENT, mime="text/plain", task_id="a")
    storage.remove("a")
    for address in (uri, f"{uri}/a.md", "store://sha256/12", f"{uri}/a/b", "store://sha256/../../etc/passwd"):
        with pytest.raises(FileError) as refused:
            from_storage(storage, address)
        assert refused.value.code == "not_found"


def test_a_file_in_the_storage_that_is_too_large_empty_or_late_is_refused(storage):
    uri = storage.put(bytes(MIB + 1), mime="text/plain", task_id="a")
    with pytest.raises(FileError, match="MAX_FILE_MB"):
        from_storage(storage, uri)
    with pytest.raises(TransientError, match="FILE_TIME_LIMIT_SECONDS"):
        from_storage(storage, uri, Bounds(2, 0))
    with pytest.raises(FileError) as refused:
        from_storage(storage, storage.put(b"", mime="text/plain", task_id="a"))
    assert refused.value.code == "empty_file"


def test_a_file_that_was_damaged_in_the_storage_is_told(tmp_path):
    storage = DiskStorage(tmp_path)
    uri = storage.put(CONTENT, mime="text/plain", task_id="a")
    (tmp_path / "objects" / uri[-64:-62] / uri[-64:]).write_bytes(b"other")
    with pytest.raises(FileError, match="damaged") as refused:
        from_storage(storage, uri)
    assert refused.value.code == "corrupt"
