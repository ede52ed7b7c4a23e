"""One file per step; the file name is the step name. See `kilter.step` for what a step is."""
