"""GGUF files: read (``file``), understood (``config``, ``tensors``), planned and written (``export``)."""

from ownlm.model.gguf.file import CHECKSUM, DEFAULT_ALIGNMENT, MAGIC, GgufFile, read

__all__ = ["CHECKSUM", "DEFAULT_ALIGNMENT", "MAGIC", "GgufFile", "read"]
