"""Outside systems, one file per vendor; each fulfils a protocol of processors.interfaces. No Celery, no SQL."""
