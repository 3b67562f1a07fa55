"""No engine tells its maker what it is used for."""

import os
import subprocess
import sys

import pytest

ENGINES = ["minilm_embedder", "onnx_objects", "rapidocr_reader", "silero_voice", "whisper_speech"]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_runtime_of_models_keeps_no_events_to_be_sent(engine, tmp_path):
    code = f"import engines.{engine}, onnxruntime; onnxruntime.SessionOptions()"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment | home, check=True, timeout=120)
    assert list(tmp_path.rglob("*")) == []
