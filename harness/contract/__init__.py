"""What every method promises, tried on tiny random models: `bakeoff check NAME`, and tests/test_contract.py."""
