"""Training: arguments, Trainer, batches, calibration."""
