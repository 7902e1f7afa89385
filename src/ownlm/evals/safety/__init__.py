"""What a language model does unasked: bias, toxic words, personal data. Measured with words and prompts of our own."""
