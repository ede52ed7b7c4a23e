"""The validation gate: one pure check a file, and `judge`, which combines them."""
