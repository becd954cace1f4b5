"""Everything that knows the API server; the only package that imports `kubernetes`."""
