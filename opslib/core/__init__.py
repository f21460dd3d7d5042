"""What every room may use and nothing third-party: errors, files, hashes, time, processes."""
