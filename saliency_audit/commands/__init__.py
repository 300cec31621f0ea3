"""One folder a command, and what they share."""
