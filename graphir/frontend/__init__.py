"""The front ends: which torch and NumPy names mean which composite or primitive."""
