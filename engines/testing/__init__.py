"""What adapters are tested with. Needs pytest, and is never imported by the hub itself."""

import pytest

# Else a sentence of the contract that fails would not show what it compared.
pytest.register_assert_rewrite("engines.testing.contract", "engines.testing.harness")
