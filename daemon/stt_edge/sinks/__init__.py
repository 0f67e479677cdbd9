"""Where records go: each sink follows the store with a cursor of its own."""
