"""What the published selection lacks: nulls, tests, stability, matching, patterns."""
