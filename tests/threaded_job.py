"""A job for the sandboxed child whose loading starts a thread, as some engines do."""

import threading
import time

threading.Thread(target=time.sleep, args=(600,), daemon=True).start()


def echo(file, options, report):
    return {"text": file.read().decode()}
