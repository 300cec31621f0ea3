"""How much time the tool takes beside the bare model passes: ``python -m tests.benchmarks NAME``.

Not part of the test run: numbers depend on the machine and on what else it does.
"""
