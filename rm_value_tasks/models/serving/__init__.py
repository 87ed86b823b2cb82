"""Reward models behind an engine, in this process or over HTTP."""
