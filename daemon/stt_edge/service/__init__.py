"""The daemon's own work: keeping the ear, talking to systemd and to the command line."""
