"""A worker of a plain application, with the options of `celery worker`.

The `celery` command itself loads the commands of every package beside it, such as Flower, into each worker: what an
environment happens to hold would be weighed with the transport.

python plain_worker.py <adapter> --pool=threads --concurrency=10
"""

import importlib
import sys

from celery.bin.base import CLIContext
from celery.bin.worker import worker

if __name__ == "__main__":
    adapter, *options = sys.argv[1:]
    app = importlib.import_module(adapter).app
    app.set_current()
    worker.main(options, obj=CLIContext(app=app, no_color=True, workdir=None, quiet=True))
