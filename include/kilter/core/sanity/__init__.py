"""What no sane model lacks: a training that converged, an answer to every input, more than a guess, and no leak."""
