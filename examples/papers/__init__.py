"""Writers for the handbook's binary papers: one small markup in, one office format out."""
