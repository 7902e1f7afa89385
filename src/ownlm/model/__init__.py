"""The model core: configuration, checkpoints, and forwards written once over a namespace of operations."""
