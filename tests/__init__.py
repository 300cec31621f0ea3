"""The tests."""

import os

# A console takes it for good when it is made, and tests set their own.
os.environ.pop("COLUMNS", None)
