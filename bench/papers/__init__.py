"""Published numbers, beside what was measured, with a verdict each."""
