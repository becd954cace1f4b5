"""All decisions of the program, as pure functions: no I/O, no clock, no logging, no asyncio."""
