"""OpenAI's routes over a language model of ours. Source: the OpenAI API reference, "Chat" and "Completions"."""
