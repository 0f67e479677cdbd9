"""The command line: one module a command, and a dispatcher that imports only the one asked for."""
