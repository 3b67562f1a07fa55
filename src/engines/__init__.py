"""Models that run here, one file per engine behind an interface, loaded on first use. No Celery, no SQL, no network."""

import os

# ONNX Runtime reads it when it is loaded: otherwise it reports to its maker, from any library that uses it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # noqa: TID251 - set for a library, not read
