"""A seeded fuzzer of everything that is read from outside."""
