"""Where steps run: in containers, or in plain processes where there is no engine."""
