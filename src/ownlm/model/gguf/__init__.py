"""GGUF files: read (``file``), understood (``config``, ``tensors``), planned and written (``export``)."""

from ownlm.model.gguf.file import DEFAULT_ALIGNMENT, MAGIC, SEAL, GgufFile, read

__all__ = ["DEFAULT_ALIGNMENT", "MAGIC", "SEAL", "GgufFile", "read"]
