"""The server and its page: OpenAI-shaped embeddings, grounded answers, documents. Localhost by default."""
