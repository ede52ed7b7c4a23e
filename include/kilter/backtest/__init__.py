"""Backtests: a policy's decisions replayed on recorded history, before anybody trusts it with a model."""
