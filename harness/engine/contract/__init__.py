"""The promises that every method makes, tried by `bakeoff check` and by the tests."""
