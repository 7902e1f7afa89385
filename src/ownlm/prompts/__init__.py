"""What models are asked, word by word: each template has a version, which the ledger keeps."""
