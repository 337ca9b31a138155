"""What people run: the command line, the live loop, and what it reads from and writes to."""
