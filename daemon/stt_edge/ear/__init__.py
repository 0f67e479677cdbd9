"""The ear: capture, ring, gate. It runs in a process of its own and has no network."""
