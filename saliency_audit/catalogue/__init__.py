"""What can be named: one entry a capability, free of torch; its function is imported when used."""
