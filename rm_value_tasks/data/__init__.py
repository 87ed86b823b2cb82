"""The embedded lexicons and the script that makes their matching."""
