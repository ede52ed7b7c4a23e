"""How sure a number is: estimates of a metric, or of a difference between two models, with their intervals."""
