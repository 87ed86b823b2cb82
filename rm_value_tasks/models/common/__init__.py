"""What the models share: arguments, conversations, refusals, caching, lm-eval's set-up."""
