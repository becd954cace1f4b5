"""The loops: read what is known, ask the decisions, write once."""
