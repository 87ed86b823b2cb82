"""Inference on leans and ranks: pure functions on tables and arrays, one idea a module."""
