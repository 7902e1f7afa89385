"""Making models: one loop for pretraining and tuning; the loss and the data are its arguments."""
