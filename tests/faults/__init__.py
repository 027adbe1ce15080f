"""Faults provoked for real: what docs/reliability.md promises, proved row by row.

A test that proves row 24 is called `test_fault_24_<sentence>`, wherever it stands; one for two rows
`test_fault_24_25_<sentence>`. `table.py` makes the page's table of these names. What is slow has the
mark `faults` and belongs to `make test-faults`.
"""
