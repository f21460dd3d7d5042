"""The API server: connection, discovery, apply, watch, leases; the only room with kubernetes."""
