"""Measuring models: tasks, scorers, and what is held out of training for them."""
