"""The promises that every method makes, checked by `bakeoff check` and by the tests."""
