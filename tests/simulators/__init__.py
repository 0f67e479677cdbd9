"""Simulators of the services the program speaks to: strict, and able to fail in every known way."""
