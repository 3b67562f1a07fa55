"""No two messages have one delivery tag, whichever thread or process made them."""

import os
from concurrent.futures import ThreadPoolExecutor

from broker.delivery_tags import fresh_tag

COUNT = 2_000


def test_threads_and_forks_never_make_the_same_tag():
    with ThreadPoolExecutor(4) as threads:
        tags = list(threads.map(lambda _: fresh_tag(), range(COUNT)))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, " ".join(fresh_tag() for _ in range(20)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    tags += os.read(reader, 100_000).decode().split()
    os.close(reader)
    os.close(writer)
    tags += [fresh_tag() for _ in range(20)]

    assert len(set(tags)) == COUNT + 40
