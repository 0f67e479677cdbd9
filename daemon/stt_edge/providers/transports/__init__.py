"""What moves a protocol's messages: one module for each kind of connection there is."""
