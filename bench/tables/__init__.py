"""Tables: views of the result files."""
