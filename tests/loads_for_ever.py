"""A module of jobs whose import does not end."""

import time

while True:
    time.sleep(60)
