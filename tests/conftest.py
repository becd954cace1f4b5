"""What every test of the project shares."""

import asyncio
import os

from hypothesis import HealthCheck, settings

# Without this the first asynchronous test makes asyncio open a loop that nobody closes.
asyncio.set_event_loop(None)

# On a shared machine a slow example is no fault. CI tries the same examples each time.
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("here", _PATIENT, max_examples=50)
settings.register_profile("ci", _PATIENT, max_examples=100, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")
