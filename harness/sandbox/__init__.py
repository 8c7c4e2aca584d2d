"""Programs that a model wrote, run in a process of their own with as little as possible to break."""
