"""What a study came to: the best configuration, retraining, model card, audits, reproduction."""
