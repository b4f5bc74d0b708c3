"""What is fitted after the last stage, on photos that were not trained on."""
