"""The I/O seams: objects, ledger, registry, features, router, servers."""
