"""Natural compression, EF21 and a ridge regression, for psmpi."""
