"""What every test of the project shares."""

import asyncio

# Without this the first asynchronous test makes asyncio open a loop that nobody closes.
asyncio.set_event_loop(None)
