"""Everything that knows the oVirt engine; the word "vm" lives only here."""
