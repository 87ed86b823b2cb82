"""Scoring many answers to one prompt while its tokens are computed once."""
