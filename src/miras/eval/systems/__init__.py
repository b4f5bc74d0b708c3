"""What can be measured: our model, other models, files of answers, rules without a model."""
