"""Serving: the model server, its prediction log, and the router's static configuration."""
