"""This machine's figures."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

SAMPLE_SECONDS = 0.2


class Host:
    """Measures the machine and this service's part in it.

    Args:
        folder: whose disk is measured.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def statistics(self) -> dict[str, Any]:
        """Return processor, memory, disk, load and processes; sizes in bytes, shares in per cent."""
        memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(self._folder))
        own = psutil.Process()
        return {
            "cpu": {"percent": psutil.cpu_percent(interval=SAMPLE_SECONDS), "count": os.cpu_count()},
            "memory": {"total": memory.total, "available": memory.available, "percent": memory.percent},
            "disk": {"path": str(self._folder), "total": disk.total, "free": disk.free, "percent": disk.percent},
            "load": list(os.getloadavg()),
            "processes": {
                "count": len(psutil.pids()),
                "own_memory": own.memory_info().rss,
                "own_threads": own.num_threads(),
            },
            "uptime_seconds": round(time.time() - psutil.boot_time(), 1),
            "collected_at": datetime.now(UTC).isoformat(),
        }

    def free_bytes(self) -> int:
        """Return how much room the disk has."""
        return psutil.disk_usage(str(self._folder)).free
