"""Everything that is served over HTTP."""
