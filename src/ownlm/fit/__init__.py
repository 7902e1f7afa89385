"""What a model does on this machine: how fast, against the most that it can do, in how much memory, at what cost."""
